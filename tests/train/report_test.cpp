#include "train/report.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "core/utf8.hpp"
#include "tests/support.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/compare.hpp"
#include "train/html.hpp"

using namespace minima;
using test::contains;
using test::kNaN;
using test::sample_comparison;

namespace {

const std::string kScript = "<script>alert(1)</script>";

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// The page without its style sheet.
std::string content(const std::string& page) { return page.substr(page.find("</style>")); }

/// The first element that is closed in the wrong place or not at all; empty where all is well.
std::string unbalanced(const std::string& page) {
  const std::set<std::string> without_end = {"!doctype", "meta", "br"};
  std::vector<std::string> open;
  for (auto at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const auto end = page.find('>', at);
    if (end == std::string::npos) return "a '<' without '>'";
    std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.ends_with('/')) continue;
    const bool closes = tag.starts_with('/');
    tag = tag.substr(closes ? 1 : 0, tag.find_first_of(" \n") - (closes ? 1 : 0));
    if (without_end.contains(tag)) continue;
    if (!closes) {
      open.push_back(tag);
    } else if (open.empty() || open.back() != tag) {
      return "</" + tag + ">" + (open.empty() ? "" : " inside <" + open.back() + ">");
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}

void check_page(const std::string& page) {
  CHECK(unbalanced(page) == "");
  CHECK(page.size() < 2'000'000);
  const std::string text = content(page);
  for (const char* not_a_number : {"nan", "NaN", "inf ", "inf\"", "inf<"})
    CHECK_FALSE(contains(text, not_a_number));
  for (const char* from_elsewhere :
       {"http:", "https:", "//", "@import", "url(h", "<script", "<link"})
    CHECK_FALSE(contains(page, from_elsewhere));
}

/// The value of every <data> element, in order.
std::vector<double> data_values(const std::string& page) {
  std::vector<double> out;
  const std::string mark = "<data value=\"";
  for (auto at = page.find(mark); at != std::string::npos; at = page.find(mark, at + 1))
    out.push_back(std::stod(page.substr(at + mark.size())));
  return out;
}

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
  Json json = sample_comparison({"adamw", "adamw8bit"}, {.seeds = 1}, {"a", "b", "c"});
  json["runs"][0]["test"]["accuracy"] = 0.80;
  json["runs"][1]["test"]["accuracy"] = 0.79;
  json["data"]["test"] = 162;  // √((0.8·0.2 + 0.79·0.21) / 162) = 4.5 points
  std::string page = report_html(json);
  CHECK(contains(page, "79.0\u00a0% test accuracy against 80.0\u00a0%"));
  CHECK(contains(page,
                 "1.0 points lower, within one standard error (4.5), so that no difference "
                 "is resolved"));
  json["data"]["test"] = 1'000'000;
  page = report_html(json);
  CHECK(contains(page, "1.0 points lower, 17.5 standard errors"));
  CHECK_FALSE(contains(page, "no difference is resolved"));
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

TEST_CASE("labels of a large confusion matrix are counted together, and it is said how many") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, std::vector<std::string>(20, "x"));
  json["runs"][0].erase("state");  // a table like this one
  const std::string page = report_html(json);
  CHECK(contains(page, "5 others"));
  CHECK(contains(page,
                 "Of 20 labels 15 are shown; the others, none of them more frequent, are counted "
                 "together."));
  json["runs"][0]["test"] = test::sample_scores(0.5, 16, 20);
  CHECK_FALSE(contains(report_html(json), "counted together"));
  CHECK(count(page, "<td class=\"cell") == 16 * 16);
  // The last row: 5 · 20 on the diagonals and 5 · 4 beside them, of 5 · (20 + 19) texts.
  CHECK(contains(page, ">120</td><td class=\"total\">195</td>"));
  // But each has its scores: 20 right of 39, and of the 20 + 19 that are taken for it.
  CHECK(contains(page, "adamw: precision, recall and F1 of each class"));
  CHECK(count(page, "<td>0.513</td><td>0.513</td><td>0.513</td><td>39</td>") == 20);
}

TEST_CASE("a confusion matrix of many labels, which has its cells alone, is shown as another") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, std::vector<std::string>(200, "x"));
  const std::string page = report_html(json);
  Json& confusion = json["runs"][0]["test"]["confusion"];
  confusion = ConfusionMatrix::from_json(confusion).to_json();
  REQUIRE(confusion.contains("cells"));
  CHECK(report_html(json) == page);
  CHECK(contains(page, "185 others"));
}

TEST_CASE("one optimizer with two sets of options is two entries, named by them") {
  const std::string page =
      report_html(sample_comparison({"adamw:lr=1e-3", "adamw:lr=1e-4"}, {.seeds = 2}, {"a", "b"}));
  CHECK(contains(page, "<strong>adamw:lr=1e-4</strong> kept 25\u00a0% of adamw:lr=1e-3’s state"));
}

TEST_CASE("the learning rates of the parameter groups are shown, each once") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  CHECK(contains(report_html(json), "adamw</th><td>0.0005</td>"));
  Json& groups = json["runs"][0]["options"]["groups"];
  groups[1]["options"]["lr"] = 1e-5;
  CHECK(contains(report_html(json), "adamw</th><td>0.0005, 1e-05</td>"));
  groups.erase(0);
  groups[0]["options"] = {{"lr", nullptr}, {"relative_step", true}};
  CHECK(contains(report_html(json), "adamw</th><td>relative</td>"));
}

TEST_CASE("state that differs from its prediction is named") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  CHECK(contains(report_html(json), "exactly what was predicted"));
  json["runs"][0]["state_bytes"] = 1000;
  json["runs"][0]["state_bytes_predicted"] = 2000;
  CHECK(contains(report_html(json), "adamw (2,000 predicted, 1,000 allocated)"));
}

TEST_CASE("alarms are a visible list, and a run without any says so") {
  Json json = sample_comparison({"adamw", "sgd"}, {.seeds = 2}, {"a", "b"});
  CHECK(contains(report_html(json), "No alarm: no tensor’s update and no gradient spiked"));
  Json unwatched = json;
  for (Json& run : unwatched["runs"])
    run["watched"] = {{"steps", Json::array()}, {"tensors", Json::array()}};
  CHECK(contains(report_html(unwatched), "No alarm: no gradient spiked"));
  json["runs"][3]["alarms"] = {{{"step", 7}, {"text", "step 7: w moves by 0.3 <of> its size"}}};
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "<h3>1 alarm</h3>"));
  CHECK(contains(page, "<li>sgd, seed 2: step 7: w moves by 0.3 &lt;of&gt; its size</li>"));
  for (int i = 0; i < 60; ++i) json["runs"][0]["alarms"].push_back({{"text", "again"}});
  CHECK(contains(report_html(json), "<li>and 21 more</li>"));
  CHECK(contains(report_html(json), "<summary>53 more</summary>"));
  for (Json& run : json["runs"])  // an older file, or --watch 0
    for (const char* key : {"alarms", "watched", "grad_norm", "clipped", "clipped_share"})
      run.erase(key);
  CHECK_FALSE(contains(report_html(json), "id=\"watching\""));
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
        "sgd with seed 2 failed: the loss is &lt;huge&gt; in step 41", "lion with seed 2 failed",
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

TEST_CASE("the heat map names its largest ratio, its tensors and its scale") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  json["runs"][0]["watched"] = {
      {"steps", {10, 20, 30}},
      {"tensors",
       {{{"name", "encoder.layer.0.w"}, {"ratio", {1e-3, 2e-3, nullptr}}, {"step_size", {1, 1, 1}}},
        {{"name", "encoder.layer.1.w"}, {"ratio", {1e-5, 0.0, 0.05}}, {"step_size", {1, 1, 1}}}}}};
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page,
                 "2 tensors at 3 steps; median 0.00100, largest 0.0500 of encoder.layer.1.w in "
                 "step 30"));
  // Their table stays folded in print.
  CHECK(contains(page, "<details class=\"long\">\n<summary>adamw, 2 tensors"));
  CHECK(contains(page, "details:not(.long)::details-content"));
  for (const std::string shown :
       {">layer 0</text>", ">layer 1</text>", "<title>encoder.layer.0.w</title>", ">10⁻⁵</text>",
        ">0.1</text>"})
    CHECK(contains(page, shown));
  const auto at = page.find("<title>encoder.layer.0.w</title>");
  const std::string row = page.substr(at, page.find("</g>", at) - at);
  CHECK(count(row, "<path") == 1);   // of one level: 12 levels from 10⁻⁵ to 10⁻¹
  CHECK(contains(row, "M0 0h2\""));  // the third step is blank
  const auto other = page.find("<title>encoder.layer.1.w</title>");
  const std::string second = page.substr(other, page.find("</g>", other) - other);
  CHECK(contains(second, "class=\"heat h0\" d=\"M0 0h1\""));
  CHECK(contains(second, "class=\"heat h11\" d=\"M2 0h1\""));
}

TEST_CASE("weights and biases of one part of the model stand together") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  Json tensors = Json::array();
  for (const char* name : {"layer.0.weight", "layer.1.weight", "layer.0.bias", "layer.1.bias"})
    tensors.push_back({{"name", name}, {"ratio", {1e-3}}, {"step_size", {1}}});
  json["runs"][0]["watched"] = {{"steps", {10}}, {"tensors", tensors}};
  const std::string page = report_html(json);
  CHECK(count(page, ">layer 0</text>") == 1);
  CHECK(page.find("<title>layer.0.bias") < page.find("<title>layer.1.weight"));
}

TEST_CASE("the state is told by part and slot, with what 8 bits and factors would lose") {
  const std::string page = report_html(sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"}));
  const auto shows = [&](const std::string& what) {
    CAPTURE(what);
    CHECK(page.find(what) != std::string::npos);
  };
  shows("adamw: 514\u00a0KB");          // 8 of 64 KB and 2 of 1 KB
  shows(">128\u00a0KB</td>");           // layer 0, two tensors in each slot
  shows("adamw: median 0.750\u00a0%");  // of 0.4, 0.5, … 1.1 %
  shows("<th scope=\"row\">layer 1</th>");
  shows("adamw: median 16.0\u00a0%");  // of 10, 14, 18 and 22 %
  Json none = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  for (Json& run : none["runs"]) run.erase("state"), run.erase("worst");
  CHECK(report_html(none).find("id=\"state\"") == std::string::npos);
  CHECK(report_html(none).find("id=\"worst\"") == std::string::npos);
}

TEST_CASE("state of less than a kilobyte is told in bytes") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  json["runs"][0]["state"][0]["bytes"] = 4;
  json["runs"][0]["state"][1]["bytes"] = 1023;
  const std::string page = report_html(json);
  CHECK(contains(page, ">4\u00a0B</td>"));
  CHECK(contains(page, ">1,023\u00a0B</td>"));
  CHECK_FALSE(contains(page, "0.0\u00a0KB"));
}

TEST_CASE("scores go over epochs where each has one evaluation, else over steps") {
  Json json = sample_comparison({"adamw"}, {.seeds = 2}, {"a", "b"});
  CHECK(contains(report_html(json), ">Accuracy on dev by epoch</title>"));
  CHECK(contains(report_html(json), ">Loss on dev by epoch</title>"));
  CHECK_FALSE(contains(report_html(json), "Macro-F1 on dev by"));  // the sample's epochs have none
  for (Json& run : json["runs"]) {
    run["epochs"] = Json::array();
    for (const int step : {8, 16, 24})
      run["epochs"].push_back({{"epoch", 1}, {"step", step}, {"dev", {{"accuracy", 0.5}}}});
  }
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, ">Accuracy on dev by step</title>"));
  CHECK(contains(page, "adamw, step 24: 50.0 %"));
  CHECK(contains(page, "At each evaluation."));
}

TEST_CASE("where no step was clipped that is said, and no curve of zeros is drawn") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  CHECK(contains(report_html(json), "Steps clipped by norm"));
  for (Json& clipped : json["runs"][0]["clipped"]) clipped = 0;
  const std::string page = report_html(json);
  CHECK_FALSE(contains(page, "Steps clipped by norm"));
  CHECK(contains(page, "No step was clipped."));
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

TEST_CASE("the texts that are most wrong can be read, and stay text") {
  Json evil = sample_comparison({"adamw"}, {.seeds = 1}, {"calm", "cross"});
  evil["runs"][0]["worst"][0]["text"] = "</style><script>alert(1)</script>";
  check_page(report_html(evil));
  CHECK(contains(report_html(evil), "&lt;/style&gt;&lt;script&gt;"));
  evil["runs"][0]["worst"][0]["pair"] = "and <b>the second</b>";
  CHECK(contains(report_html(evil), "<br>and &lt;b&gt;the second"));
  const std::string page =
      report_html(sample_comparison({"adamw"}, {.seeds = 1}, {"calm", "cross"}));
  CHECK(page.find("the printer is on fire, &lt;b&gt;really&lt;/b&gt;") != std::string::npos);
  CHECK(page.find("7.25") != std::string::npos);
}

TEST_CASE("a change of the optimizer is shown with what became of each slot") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  const Json row = {{"slot", "exp_avg"}, {"from", ""}, {"how", "afresh"}, {"note", "<why>"}};
  json["runs"][0]["switches"] = {
      {{"step", 20}, {"from", "adamw"}, {"to", "lion"}, {"warmup", 10}, {"slots", {row, row}}}};
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page,
                 "<caption>after step 20: adamw → lion; the learning rate rises again over 10"));
  Json beside = sample_comparison({"adamw", "sgd"}, {.seeds = 1}, {"a", "b"});
  beside["runs"][0]["switches"] = json["runs"][0]["switches"];
  CHECK(contains(report_html(beside), "<caption>adamw → lion, after step 20: adamw → lion;"));
  CHECK(contains(page,
                 "<th scope=\"row\">exp_avg</th><td>–</td><td>afresh: &lt;why&gt;</td>"
                 "<td>2</td>"));
}

TEST_CASE("a run that changed its optimizer is called by both, and its state by the last") {
  Json json = sample_comparison({"adamw:lr=1e-4", "adamw:lr=1e-3"}, {.seeds = 1}, {"a", "b", "c"});
  Json& run = json["runs"][0];
  run["final_optimizer"] = "adafactor";
  run["switches"] = Json::array({{{"step", 20}, {"from", "adamw"}, {"to", "adafactor:lr=0.03"}}});
  const Json beside = json;
  json["runs"].erase(1);
  const std::string page = report_html(json);
  check_page(page);
  for (const std::string shown :
       {"<h1>adamw → adafactor on sample</h1>", "<strong>adamw → adafactor</strong> reached",
        "of state before the change and", ">adamw → adafactor</text>",
        "adafactor, at the end of adamw → adafactor: 514\u00a0KB",
        "learning rate and state are those before the change."}) {
    CAPTURE(shown);
    CHECK(contains(page, shown));
  }
  // A line in each chart over steps: loss, norm, clipped, step size.
  CHECK(count(page, "class=\"event\"") == 4);
  CHECK(count(page, ">→ adafactor</text>") == 4);
  CHECK(count(page, "; → adafactor after step 20<") == 4);
  CHECK(contains(comparison_table(json), "adamw:lr=1e-4 → adafactor "));

  // Beside others: what all are measured against is adamw alone; names say no more than they must.
  const std::string both = report_html(beside);
  CHECK(contains(both, "<h1>adamw → adafactor and adamw on sample</h1>"));
  CHECK(contains(both,
                 "<strong>adamw → adafactor</strong> kept 400\u00a0% of adamw’s state (9.42 of "
                 "2.35\u00a0MB) before the change and reached"));
  Json untested = beside;
  untested["runs"][1].erase("test");
  untested["training"]["steps"] = 60;
  CHECK(contains(report_html(untested),
                 "before the change and cannot be compared in test accuracy: adamw has no test "
                 "result after 40 of 60 steps. Its step took"));
  untested["runs"][0].erase("test");
  CHECK(contains(report_html(untested), "accuracy: it has no test result after 40 of 60 steps."));
  Json alike = beside;
  for (const char* key : {"switches", "final_optimizer"})
    alike["runs"][1][key] = alike["runs"][0][key];
  CHECK(contains(report_html(alike),
                 "<h1>adamw:lr=1e-4 → adafactor and adamw:lr=1e-3 → adafactor on sample</h1>"));
}

TEST_CASE("state against accuracy is drawn of two optimizers and more") {
  Json json = sample_comparison({"adamw", "sgd"}, {.seeds = 2}, {"a", "b"});
  CHECK(contains(report_html(json), "State against accuracy"));
  json["runs"][2]["test"] = json["runs"][3]["test"] = nullptr;
  CHECK_FALSE(contains(report_html(json), "State against accuracy"));
  CHECK_FALSE(contains(report_html(sample_comparison({"adamw"}, {.seeds = 2}, {"a", "b"})),
                       "State against accuracy"));
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

TEST_CASE("numbers are typeset for reading") {
  CHECK(html::fixed(1234567.891, 1) == "1,234,567.9");
  CHECK(html::fixed(-1234, 0) == "−1,234");
  CHECK(html::fixed(-0.001, 1) == "0.0");
  CHECK(html::fixed(999, 0) == "999");
  CHECK(html::fixed(kNaN, 1) == "–");
  CHECK(html::significant(0.012345) == "0.0123");
  CHECK(html::significant(502.3) == "502");
  CHECK(html::significant(1234.4) == "1,234");
  CHECK(html::significant(0) == "0");
  CHECK(html::shortest(0.0005) == "0.0005");
  CHECK(html::escaped("a<b>&\"'\x01") == "a&lt;b&gt;&amp;&quot;&#39;\uFFFD");
  CHECK(html::shortened("adamw:lr=1e-3", 20) == "adamw:lr=1e-3");
  CHECK(html::shortened("ääääöööö", 5) == "ää…öö");
  using Names = std::vector<std::string>;
  CHECK(html::shortened(Names{"lion", "ääää switch 25%:lion öööö", "ääää switch 50%:lion öööö"},
                        12) == Names{"lion", "ääää…ch 25%…", "ääää…ch 50%…"});
  // What stands at the beginning is no place to cut out; a character is not half in common.
  CHECK(html::shortened(Names{"adamw:lr=1e-3:weight_decay=0.1", "adamw:lr=3e-3:weight_decay=0.1"},
                        18) == Names{"adamw:lr=1e-3:wei…", "adamw:lr=3e-3:wei…"});
  CHECK(html::shortened(Names{"aaaaä behind and more", "aaaaö behind and more"}, 9) ==
        Names{"aaaaä be…", "aaaaö be…"});
}

TEST_CASE("short names of a grid of options stay apart, and as short as asked for") {
  for (const std::size_t width : {12, 18, 30}) {
    std::vector<std::string> names;
    for (const char* lr : {"1e-3", "3e-3"})
      for (const char* beta : {"0.9", "0.95"})
        for (const char* decay : {"0.1", "0.01", "0"})
          names.push_back(
              fmt::format("adamw:lr={}:beta1={}:weight_decay={}:amsgrad=true", lr, beta, decay));
    names.push_back(names[0]);  // the same stays the same
    const std::vector<std::string> all = html::shortened(names, width);
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == names.size() - 1);
    CHECK(all.back() == all.front());
    for (const std::string& name : all) CHECK(count_characters(name) <= width);
  }
}
