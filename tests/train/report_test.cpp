#include "train/report.hpp"

#include <limits>

#include "tests/train/page.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/compare.hpp"

using namespace minima;
using test::check_page;
using test::contains;
using test::data_values;
using test::kNaN;
using test::sample_comparison;

namespace {

const std::string kScript = "<script>alert(1)</script>";

}  // namespace

TEST_CASE("the table holds the numbers of the runs") {
  const Json json = sample_comparison({"adamw", "adafactor"}, {.seeds = 1}, {"no", "yes"});
  const std::string page = report_html(json);
  check_page(page);
  std::vector<double> expected;
  for (const Json& run : json["runs"])
    for (const char* path :
         {"/state_elements", "/state_bytes", "/step_ms", "/tokens_per_second", "/peak_bytes",
          "/dev/accuracy", "/test/accuracy", "/test/macro_f1", "/test/positive_f1", "/test/loss"})
      expected.push_back(run[Json::json_pointer(path)].get<double>());
  const std::vector<double> values = data_values(page);
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK(values[i] == doctest::Approx(expected[i]).epsilon(1e-12));
}

TEST_CASE("seeds of one optimizer are shown as mean and standard deviation") {
  Json json = sample_comparison({"adamw"}, {.seeds = 3}, {"a", "b", "c"});
  const double accuracy[] = {0.80, 0.82, 0.87};
  const double milliseconds[] = {11, 12, 16};
  for (std::size_t i = 0; i < 3; ++i) {
    json["runs"][i]["test"]["accuracy"] = accuracy[i];
    json["runs"][i]["step_ms"] = milliseconds[i];
  }
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "83.0</data><span class=\"spread\">± 3.6</span>"));    // √13 = 3.61
  CHECK(contains(page, "13.00</data><span class=\"spread\">± 2.65</span>"));  // √7 = 2.65
}

TEST_CASE("a seed without a number is left out of the mean, and counted") {
  Json json = sample_comparison({"adamw"}, {.seeds = 3}, {"a", "b", "c"});
  json["runs"][0]["test"]["loss"] = 0.5;
  json["runs"][1]["test"]["loss"] = nullptr;
  json["runs"][2]["test"]["loss"] = 0.7;
  CHECK(contains(report_html(json), "0.600</data><span class=\"spread\">± 0.141, 2 of 3</span>"));
}

TEST_CASE("a difference below one standard error is said not to be resolved") {
  Json json = sample_comparison({"adamw", "adamw8bit"}, {.seeds = 2}, {"a", "b", "c"});
  for (std::size_t i = 0; i < 4; ++i) json["runs"][i]["test"]["accuracy"] = i < 2 ? 0.80 : 0.79;
  json["data"]["test"] = 162;  // √((0.8·0.2 + 0.79·0.21) / 162) = 4.5 points
  std::string page = report_html(json);
  CHECK(contains(page, "79.0\u00a0% test accuracy against 80.0\u00a0%"));
  CHECK(contains(page,
                 "1.0 points lower, within one standard error (4.5), so that no difference "
                 "is resolved"));
  json["data"]["test"] = 7333;
  CHECK(contains(report_html(json), "1.0 points lower, 1.5 standard errors"));
  json["data"]["test"] = 1'000'000;
  page = report_html(json);
  CHECK(contains(page, "1.0 points lower, 17.5 standard errors"));
  CHECK_FALSE(contains(page, "no difference is resolved"));
}

TEST_CASE("of optimizers that are not resolved to be less accurate the least state comes first") {
  Json json = sample_comparison({"adamw", "lion", "adamw8bit"}, {.seeds = 2}, {"a", "b", "c"});
  for (std::size_t i = 0; i < 6; ++i) {
    json["runs"][i]["test"]["accuracy"] = i < 4 ? 0.80 : 0.79;
    json["runs"][i]["state_bytes"] = i < 2 ? 8000 : i < 4 ? 4000 : 2000;
  }
  json["data"]["test"] = 162;
  CHECK(contains(report_html(json), "<p class=\"verdict\"><strong>adamw8bit</strong>"));
  json["data"]["test"] = 1'000'000;
  CHECK(contains(report_html(json), "<p class=\"verdict\"><strong>lion</strong>"));
}

TEST_CASE("one seed resolves no difference, however many texts there are") {
  Json json = sample_comparison({"adamw", "adamw8bit", "lion"}, {.seeds = 1}, {"a", "b", "c"});
  const double accuracy[] = {0.80, 0.89, 0.70};
  for (std::size_t i = 0; i < 3; ++i) json["runs"][i]["test"]["accuracy"] = accuracy[i];
  json["data"]["test"] = 162;
  const std::string page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {"80.0\u00a0%: 9.0 points higher with one seed (the test’s texts alone leave ±\u00a04.0).",
        "10.0 points lower with one seed (the test’s texts alone leave ±\u00a04.8)."}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  CHECK(test::count(page, "What another seed changes is not known (compare --seeds 3).") == 1);
  CHECK_FALSE(contains(page, " standard errors"));
  CHECK_FALSE(contains(page, "is resolved"));
  json["runs"].push_back(json["runs"][0]);  // of the first alone there is another
  json["runs"].back()["test"]["accuracy"] = 0.70;
  CHECK(contains(report_html(json),
                 "14.0 points higher with one seed (the test’s texts alone leave ±\u00a04.2)."));
  json["data"]["test"] = 1'000'000;
  CHECK(contains(report_html(json), "14.0 points higher with one seed"));
}

TEST_CASE(
    "what learned nothing is told at the top; where no seed learned no accuracy is compared") {
  constexpr int kSeeds = 3;
  Json json = sample_comparison({"adamw", "lion", "sgd"}, {.seeds = kSeeds}, {"a", "b"});
  const auto verdict = [&] {
    const std::string page = report_html(json);
    check_page(page);
    const auto at = page.find("<p class=\"verdict\">");
    return page.substr(at, page.find("</header>", at) - at);
  };
  const Json collapsed = {{0, 3}, {0, 5}};
  json["runs"][kSeeds]["dev"]["confusion"] = collapsed;  // lion's first
  CHECK(
      contains(verdict(),
               "<li><strong>lion</strong> learned nothing with 1 of 3 seeds: every text of dev is "
               "taken for the same class; another learning rate may help, or longer training"));
  CHECK(test::count(verdict(), " against ") == 2);
  json["runs"][0]["dev"]["confusion"] = collapsed;
  CHECK(contains(
      verdict(),
      "<strong>adamw</strong> and <strong>lion</strong> learned nothing with 1 of 3 seeds: "));
  CHECK(test::count(verdict(), " against ") == 2);
  CHECK(contains(report_html(json), "Standard error"));

  for (int i = 1; i < kSeeds; ++i) json["runs"][kSeeds + i]["dev"]["confusion"] = collapsed;
  CHECK(verdict().starts_with("<p class=\"verdict\"><strong>sgd</strong> kept"));
  CHECK(contains(verdict(), "and learned nothing with 3 of 3 seeds: every text of dev"));
  CHECK(test::count(verdict(), " against ") == 1);  // sgd's
  for (int i = 1; i < kSeeds; ++i) json["runs"][i]["dev"]["confusion"] = collapsed;
  CHECK(
      verdict().starts_with("<p class=\"verdict\"><strong>adamw</strong> learned nothing with 3 of "
                            "3 seeds: every text "));
  CHECK(contains(verdict(), ". Its accuracy is not compared.</p>"));
  CHECK(test::count(verdict(), "every text of dev") == 2);  // of each once
  CHECK(contains(verdict(), "<strong>sgd</strong> kept"));
  CHECK_FALSE(contains(verdict(), " against "));
  CHECK_FALSE(contains(report_html(json), "Standard error"));  // none is told
  json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  json["runs"][0]["dev"]["confusion"] = collapsed;
  CHECK(contains(verdict(), "<strong>adamw</strong> learned nothing: every text of dev"));
  CHECK_FALSE(contains(verdict(), "not compared"));
}

TEST_CASE("times that other programs have disturbed are said to tell nothing") {
  Json json = sample_comparison({"adamw", "adamw8bit"}, {.seeds = 1}, {"a", "b"});
  json["machine"]["cores"] = 4;  // two of which are spare
  json["runs"][1]["others_cores"] = 2.1;
  CHECK(report_html(json).find("Its step took 1.09 times as long.") != std::string::npos);
  json["runs"][1]["others_cores"] = 3.5;
  CHECK(report_html(json).find("1.09 times as long (not resolved: other programs took up to 1.5 of "
                               "its cores).") != std::string::npos);
  CHECK(comparison_table(json).find("other programs took up to 1.5 of the cores") !=
        std::string::npos);
}

TEST_CASE("a run whose time was up is told of: beside others it has not learned for as long") {
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 1}, {"a", "b"});
  json["training"]["steps"] = 1234;
  json["runs"][0]["stop"] = "all steps are taken";
  json["runs"][1]["stop"] = "the time is up";
  CHECK(what_it_lacks(json) ==
        std::vector<std::string>{"lion with seed 1: the time was up after 40 of 1,234 steps"});
  CHECK(contains(report_html(json), "the time was up after 40 of 1,234 steps."));
}

TEST_CASE("a model that takes every text for the same class is told of") {
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 1}, {"a", "b"});
  CHECK(what_it_lacks(json).empty());
  json["runs"][1]["dev"]["confusion"] = {{0, 3}, {0, 5}};
  CHECK(always_one_class(json["runs"][0]).empty());
  REQUIRE(what_it_lacks(json).size() == 1);
  CHECK(contains(what_it_lacks(json)[0], "lion with seed 1: every text of dev is taken for"));
  CHECK(contains(always_one_class(json["runs"][1]), "longer training"));
  json["runs"][1]["dev"]["confusion"] = {{0, 99}, {0, 1}};
  CHECK(contains(always_one_class(json["runs"][1]), "longer training"));  // not the frequent one
  json["runs"][1]["dev"]["confusion"] = {{0, 1}, {0, 99}};
  CHECK(contains(always_one_class(json["runs"][1]), "--class-weights balanced"));
  json["runs"][1]["dev"]["loss"] = 6e5;
  CHECK(contains(always_one_class(json["runs"][1]), "a lower learning rate"));
  json["runs"][1]["dev"]["confusion"] = {{0, 0}, {0, 5}};  // there is but one
  CHECK(what_it_lacks(json).empty());
}

TEST_CASE("what a standard error is stands where one is told") {
  CHECK(contains(report_html(sample_comparison({"adamw", "sgd"}, {.seeds = 1}, {"a", "b"})),
                 "Standard error of a mean"));
  CHECK_FALSE(contains(report_html(sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"})),
                       "Standard error"));
}

TEST_CASE("the spread over seeds adds to the standard error") {
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 2}, {"a", "b", "c"});
  const double accuracy[] = {0.80, 0.84, 0.76, 0.78};  // means 82 and 77; s²/n = 4 and 1 points²
  for (std::size_t i = 0; i < 4; ++i) json["runs"][i]["test"]["accuracy"] = accuracy[i];
  json["data"]["test"] = 1e12;
  CHECK(contains(report_html(json), "5.0 points lower, 2.2 standard errors"));  // 5/√5
}

TEST_CASE("the verdict begins with the least state that is not less accurate") {
  Json json = sample_comparison({"adamw", "adamw8bit", "adafactor"}, {.seeds = 1}, {"a", "b", "c"});
  json["data"]["test"] = 1'000'000;
  const auto first = [&] {
    const std::string page = report_html(json);
    const std::string mark = "<p class=\"verdict\"><strong>";
    const auto at = page.find(mark) + mark.size();
    return page.substr(at, page.find("</strong>", at) - at);
  };
  for (std::size_t i = 0; i < 3; ++i) json["runs"][i]["test"]["accuracy"] = 0.8;
  CHECK(first() == "adafactor");
  json["runs"][2]["test"]["accuracy"] = 0.7;
  CHECK(first() == "adamw8bit");
  CHECK(contains(report_html(json), "<strong>adamw8bit</strong> kept 25\u00a0% of adamw’s state"));
  json["runs"][1]["state_bytes"] = 9876720;  // as much as adamw
  CHECK(first() == "adafactor");
}

TEST_CASE("of many runs the best are told of, the others counted") {
  std::vector<std::string> specs{"adamw"};
  for (int i = 1; i <= 30; ++i) specs.push_back(fmt::format("adamw:lr={}", i));
  Json json = sample_comparison(specs, {.seeds = 1}, {"a", "b"});
  json["runs"][30]["test"]["accuracy"] = 0.99;
  json["runs"][30]["state_bytes"] = json["runs"][0]["state_bytes"];
  for (std::size_t i = 1; i < 30; ++i) json["runs"][i]["state_bytes"] = 1e9;
  const std::string page = report_html(json);
  CHECK(contains(page, "<p class=\"verdict\"><strong>adamw:lr=30</strong>"));
  CHECK(test::count(page, "test accuracy against") == 12);
  CHECK(contains(page, "<li>The table has 18 further findings.</li>"));
  specs.resize(14);
  CHECK(contains(report_html(sample_comparison(specs, {.seeds = 1}, {"a", "b"})),
                 "<li>The table has 1 further finding.</li>"));
}

TEST_CASE("every string of the file stays text") {
  Json json = sample_comparison({"adamw:" + kScript, kScript}, {.seeds = 2}, {kScript, "\"'&<b>"});
  for (const char* part : {"data", "model", "training", "machine"})
    json[part][kScript] = kScript + "\"onload=\"x";
  json["data"]["name"] = json["data"]["origin"] = json["model"]["name"] = kScript;
  json["model"]["config"] = {{kScript, {kScript, {{kScript, kScript}}}}};
  for (Json& run : json["runs"]) {
    run["options"][kScript] = kScript;
    run["seed"] = kScript;
    run["alarms"] = {{{"text", kScript}}};
    run["watched"]["tensors"][0]["name"] = kScript;
    run["switches"] = {{{"from", kScript}, {"to", kScript}, {"slots", {{{"slot", kScript}}}}}};
  }
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;"));
  CHECK(contains(page, "&quot;&#39;&amp;&lt;b&gt;"));
  CHECK_FALSE(contains(page, "\"onload"));
}

TEST_CASE("missing and non-finite numbers are dashes") {
  for (const Json& json : {Json::object(), Json(), Json::array(), Json{{"runs", nullptr}},
                           Json{{"runs", {Json::object(), Json::object()}}},
                           Json{{"runs", {nullptr, 3, "text"}}, {"data", 4}}}) {
    CAPTURE(json.dump());
    const std::string page = report_html(json);
    check_page(page);
    CHECK(contains(page, "–"));
  }
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 2}, {"a", "b", "c"});
  for (std::size_t i = 0; i < 2; ++i) {  // of adamw; lion has all
    Json& run = json["runs"][i];
    for (const char* key : {"state_bytes", "step_ms", "peak_bytes", "tokens_per_second"})
      run[key] = kNaN;
    run["test"] = {{"accuracy", std::numeric_limits<double>::infinity()},
                   {"loss", "none"},
                   {"confusion", {{1, 2}, {3}}}};
    run["train_loss"] = run["grad_norm"] = {1.0, nullptr, kNaN, 0.5};
    run["watched"] = {{"steps", {1, kNaN}},
                      {"tensors", {{{"name", "w"}, {"ratio", {kNaN}}}, {{"name", 3}}}}};
    run["alarms"] = {nullptr, 3};
    run["switches"] = {nullptr, {{"slots", 4}}};
    run["epochs"] = nullptr;
  }
  std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "<td>–</td>"));
  json["runs"].erase(2), json["runs"].erase(2);
  page = report_html(json);
  check_page(page);
  CHECK_FALSE(contains(page, "actual ↓"));
  CHECK_FALSE(contains(page, "Peak memory"));  // no run has it: neither a column nor a chart
}

TEST_CASE("small and odd comparisons have a page") {
  const std::vector<std::string> six = {"a", "b", "c", "d", "e", "f"};
  check_page(report_html(sample_comparison({"adamw"}, {1, 1, 1}, {"only"})));
  check_page(report_html(sample_comparison({"adamw"}, {1, 0, 1}, six)));
  check_page(report_html(sample_comparison({"sgd", "adamw"}, {2, 3, 2}, {})));
  Json json = sample_comparison({"sgd", "adamw", "adafactor"}, {2, 30, 2}, six);
  for (Json& run : json["runs"])
    if (run["optimizer"] == "sgd")
      for (const char* key : {"state_elements", "state_bytes", "state_bytes_predicted"})
        run[key] = 0;
  check_page(report_html(json));
  json["runs"].erase(4);  // seeds differ in number
  for (Json& loss : json["runs"][0]["train_loss"]) loss = 1e30;
  check_page(report_html(json));
}

TEST_CASE("a long comparison of many optimizers stays small") {
  std::vector<std::string> labels;
  for (int i = 0; i < 60; ++i) labels.push_back("label " + std::to_string(i));
  const Json json =
      sample_comparison({"adamw", "adam", "adamw8bit", "adafactor", "sgd", "came", "lion", "adapm"},
                        {5, 10'000, 12}, labels);
  const std::string page = report_html(json);
  check_page(page);
  MESSAGE("8 optimizers, 5 seeds, 10,000 steps, 60 labels: " << page.size() / 1000 << " kB");
}

TEST_CASE("one optimizer with two sets of options is two entries, named by them") {
  const std::string page =
      report_html(sample_comparison({"adamw:lr=1e-3", "adamw:lr=1e-4"}, {.seeds = 2}, {"a", "b"}));
  CHECK(contains(page, "<strong>adamw:lr=1e-4</strong> kept 25\u00a0% of adamw:lr=1e-3’s state"));
}

TEST_CASE("what failed is told at the top, in the table and among the alarms, and is in no chart") {
  Json json = sample_comparison({"adamw", "sgd", "lion"}, {.seeds = 2, .steps = 40}, {"a", "b"});
  json["training"]["steps"] = 60;
  Json& failed = json["failed"] = Json::array();
  for (const int run : {2, 3, 5}) {  // both of sgd, one of lion
    failed.push_back(json["runs"][run]);
    failed.back().update({{"error", "the loss is <huge> in step 41"},
                          {"alarms", {{{"step", 41}, {"text", "step 41: the loss"}}}}});
  }
  for (const int run : {5, 3, 2}) json["runs"].erase(run);
  std::string page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {"<h1>adamw, lion and sgd (failed) on sample</h1>", "<strong>lion</strong> kept",
        "<li><strong>sgd</strong> failed after 40 of 60 steps.</li>",
        "sgd with seed 1 failed: the loss is &lt;huge&gt; in step 41; 1 other seed failed too",
        "lion with seed 2 failed",
        "<th scope=\"row\">sgd</th><td>0.0005</td><td class=\"failure\" colspan=\"11\">failed: the "
        "loss is &lt;huge&gt; in step 41</td>",
        "<h3>3 alarms</h3>", "<li>lion, seed 2: step 41: the loss</li>"}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  CHECK_FALSE(contains(page, "No alarm"));
  CHECK_FALSE(contains(page, "class=\"name\">sgd</text>"));
  // Where nothing has ended, its curves so far are all there is to see.
  json["runs"] = Json::array();
  page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {"<h1>sgd (failed) and lion (failed) on sample</h1>",
        "<p class=\"verdict\"><strong>sgd</strong> failed after 40 of 60 steps.</p>",
        "colspan=\"1\">failed: ", "class=\"name\">sgd</text>", "<h3>3 alarms</h3>"}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  // Of an older file, or where there was no memory, its spec and the reason alone are known.
  json["failed"] = {{{"spec", "sgd:lr=1"}, {"seed", 1}, {"error", "memory"}}};
  page = report_html(json);
  check_page(page);
  CHECK(contains(page, "<strong>sgd:lr=1</strong> failed.</p>"));
  CHECK_FALSE(contains(page, "Training loss"));
  json["failed"][0]["alarms"] = Json::array();
  CHECK_FALSE(contains(report_html(json), "No alarm"));
  // Tuning may fail at some of its rates, but not at all.
  const Json tried = {{"spec", "sgd:lr=1"}, {"score", nullptr}};
  json["failed"][0]["tried"] = true;
  json["tuning"] = {{{"spec", "sgd"}, {"tried", {tried, {{"spec", "sgd"}, {"score", 0.5}}}}}};
  CHECK(contains(report_html(json), "There is nothing to compare."));
  json["tuning"] = {{{"spec", "sgd"}, {"tried", {tried, tried}}}};
  CHECK(contains(report_html(json), "failed: no learning rate that was tried has a finite score"));
}

TEST_CASE("what differs is told of the failed as well, on the page and in the table") {
  Json json = sample_comparison({"adamw (a)", "adamw (b)"}, {.seeds = 1}, {"a", "b"});
  for (std::size_t i = 0; i < 2; ++i)
    json["runs"][i].update({{"label", i == 0 ? "a" : "b"}, {"configuration", {{"--clip", i}}}});
  json["failed"] = {json["runs"][1]};
  json["failed"][0]["error"] = "it blew up";
  json["runs"].erase(1);
  CHECK(contains(report_html(json), "<th scope=\"row\">--clip</th><td>0</td><td>1</td>"));
  CHECK(contains(comparison_table(json),
                 "what differs  adamw (a)  adamw (b)\n--clip                0          1\n"));
}

TEST_CASE("a run that has no test yet is reported by what there is") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  for (const char* key : {"test", "state", "worst", "peak_bytes"}) json["runs"][0].erase(key);
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "<strong>adamw</strong> has taken"));
  CHECK(contains(page, "accuracy on dev"));
  CHECK_FALSE(contains(page, "test accuracy with"));
}

TEST_CASE("the report of a pre-training says what it is, and shows no column of dashes") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1, .steps = 40}, {});
  Json& run = json["runs"][0];
  for (const char* key : {"test", "worst", "peak_bytes"}) run.erase(key);
  run["dev"] = {{"accuracy", 0.119}, {"loss", 5.5}, {"perplexity", 244.7}};
  for (Json& evaluation : run["epochs"]) evaluation["dev"] = run["dev"];
  json["training"]["metric"] = "";
  json["training"]["steps"] = 40;
  json["data"].erase("bag_of_words");
  const std::string page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {"masked language model small, 1,234,567 parameters",
        "has taken 40 steps: 11.9\u00a0% of the hidden tokens of dev told rightly, a perplexity of "
        "244.7",
        "Dev accuracy<span class=\"unit\">% of hidden tokens</span>", ">244.7</data>",
        "% of hidden tokens told rightly</text>", "the last model is kept"}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  for (const std::string absent :
       {"Test accuracy", "Macro-F1", "Peak memory", "State against accuracy", "Standard error",
        "best on dev", "Best epoch", "accuracy on dev,"}) {
    CAPTURE(absent);
    CHECK_FALSE(contains(page, absent));
  }
  json["model"].erase("parameters");
  CHECK(contains(report_html(json), "masked language model small ·"));
  run["dev"]["perplexity"] = nullptr;  // e^loss is no number any more
  json["model"]["config"] = {{"architectures", {"BertForMaskedLM"}}, {"vocab_size", 1000}};
  CHECK(what_it_lacks(json).empty());
  run["dev"]["loss"] = 7;
  REQUIRE(what_it_lacks(json).size() == 1);
  CHECK(contains(what_it_lacks(json)[0], "is not below 6.908, that of guessing among 1000 tokens"));
  json["model"]["config"].erase("vocab_size");
  CHECK(what_it_lacks(json).empty());
  CHECK(contains(report_html(json), "masked language model small ·"));
}

TEST_CASE("of pre-trainings that stand in one report the perplexity is compared") {
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 1, .steps = 40}, {});
  json["training"]["steps"] = 40;
  for (Json& run : json["runs"]) {
    run.erase("test");
    run["dev"] = {{"accuracy", 0.1}, {"loss", 5.5}};
    run["dev"]["perplexity"] = run["spec"] == "lion" ? 260.2 : 244.7;
  }
  json["model"]["config"] = {{"architectures", {"DistilBertForMaskedLM"}}};
  CHECK(contains(report_html(json), "reached a perplexity of 260.2 on dev against 244.7."));
  const std::string table = comparison_table(json);
  CHECK(contains(table, "dev %  dev perplexity\n"));
  CHECK(contains(table, "10.0           260.2\n"));
  for (Json& run : json["runs"])
    if (run["spec"] == "lion") run.erase("dev");  // was not evaluated
  CHECK(contains(report_html(json), " and has taken 40 steps."));
}

TEST_CASE("a quantity is written in one way, wherever it stands") {
  Json json = sample_comparison({"adamw", "lion"}, {.seeds = 2}, {"a", "b"});
  const double milliseconds[] = {10.5, 10.5, 6.96, 6.97};
  for (std::size_t i = 0; i < 4; ++i) {
    json["runs"][i]["step_ms"] = milliseconds[i];
    json["runs"][i]["test"] = {{"accuracy", 0.814}, {"macro_f1", 0.7304}, {"loss", 0.5}};
    json["runs"][i]["dev"]["accuracy"] = 0.8;
    for (Json& evaluation : json["runs"][i]["epochs"]) evaluation["dev"]["macro_f1"] = 0.73;
  }
  json["runs"][2]["test"]["accuracy"] = json["runs"][3]["test"]["accuracy"] = 0.8130001;
  std::string page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {">10.50</data><span class=\"spread\">± 0.00</span>",
        ">6.96</data><span class=\"spread\">± 0.01</span>",
        ">80.0</data><span class=\"spread\">± 0.0</span>", ">73.0</data>", ">10.50</td>",
        ">81.4</td>", ">73.0</td>", "adamw, epoch 1: 73.0 %", "dev 76.5\u00a0%, test 76.1\u00a0%",
        "0.1 points lower", "10.50\u00a0±\u00a00.00\u00a0ms"}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  json["runs"].erase(2), json["runs"].erase(2);
  CHECK(contains(report_html(json), "10.50\u00a0ms a step"));
}

TEST_CASE("of a run that was stopped it is told how many steps it lacks") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1, .steps = 40}, {"a", "b"});
  json["runs"][0].erase("test");
  json["training"]["steps"] = 6180;
  CHECK(contains(report_html(json), "has taken 40 of 6,180 steps"));
  json["training"]["steps"] = 40;
  CHECK(contains(report_html(json), "has taken 40 steps"));
}

TEST_CASE("a long name is short in the table, and whole for the pointer and aloud") {
  const std::string name = "adamw:lr=0.01:weight_decay=0.1:beta1=0.95:eps=1e-7";
  const std::string page =
      report_html(sample_comparison({"adamw:lr=0.001", name}, {.seeds = 1}, {"a", "b", "c"}));
  check_page(page);
  CHECK(contains(page, "title=\"" + name + "\" aria-label=\"" + name + "\""));
  CHECK_FALSE(contains(page, "</svg>" + name + "</th>"));
  CHECK(contains(page, "</svg>adamw:lr=0.001</th>"));  // short as it is
}
