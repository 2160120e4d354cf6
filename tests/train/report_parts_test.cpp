/// The parts of a report: charts, tables and lists (train/report).
#include <set>

#include "tests/train/page.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/compare.hpp"
#include "train/metrics.hpp"
#include "train/report.hpp"
#include "train/report/parts.hpp"
#include "train/run.hpp"

using namespace minima;
using test::check_page;
using test::contains;
using test::count;
using test::sample_comparison;

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
  // What of them is right is not known there: they are no cell of the diagonal.
  CHECK(count(page, "<td class=\"cell right\"") == 15);
  CHECK(count(report_html(json), "<td class=\"cell right\"") == 16);  // of 16 labels
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

TEST_CASE(
    "labels that begin alike are told apart in a confusion matrix, and whole for the pointer") {
  const std::string fee = "card_payment_fee_charged", rate = "card_payment_wrong_exchange_rate";
  const std::string page =
                        report_html(sample_comparison({"adamw"}, {.seeds = 1}, {fee, rate, "<b>"})),
                    matrix = page.substr(page.find("<table class=\"matrix\">"));
  std::set<std::string> heads;
  for (const std::string& label : {fee, rate}) {
    const auto at = matrix.find("<th scope=\"row\" title=\"" + label + "\" aria-label=\"" + label);
    REQUIRE(at != std::string::npos);
    const auto begin = matrix.find('>', at) + 1;
    const std::string shown = matrix.substr(begin, matrix.find('<', begin) - begin);
    CHECK(test::count(shown, "…") > 0);
    CHECK(contains(matrix, "<span>" + shown + "</span>"));  // the column's
    heads.insert(shown);
  }
  CHECK(heads.size() == 2);
  CHECK(contains(matrix, "<th scope=\"row\">&lt;b&gt;</th>"));
}

TEST_CASE("the rates that were tried are told, and where a better one may lie") {
  Json json = sample_comparison({"adamw:lr=0.00316", "sgd:lr=0.1"}, {.seeds = 1}, {"a", "b"});
  CHECK_FALSE(contains(report_html(json), "were tried"));
  json["tuning"] = {{{"spec", "adamw:lr=0.00316"},
                     {"metric", "accuracy"},
                     {"spread", 0.22},
                     {"tried",
                      {{{"spec", "adamw:lr=0.001"}, {"score", 0.23}},
                       {{"spec", "adamw:lr=0.00316"}, {"score", 0.45}}}}}};
  const std::string page = report_html(json);
  check_page(page);
  CHECK(contains(page, "Learning rates that were tried"));
  CHECK(contains(page,
                 "<li>adamw:lr=0.00316: dev accuracy by learning rate  0.001: 0.23, 0.00316: 0.45 "
                 "(best); spread 0.22; the best is the greatest that was tried, beyond may lie a "
                 "better one</li>"));
  Json& tuned = json["tuning"][0];
  tuned["spread"] = 0;
  CHECK(what_was_tuned(json)[0].ends_with("; all are alike, the best has the least loss"));
  tuned["metric"] = "loss";
  CHECK(what_was_tuned(json)[0].ends_with("so nothing tells which rate is the best"));
}

TEST_CASE(
    "curves are means over the seeds that came so far, in bands of one deviation, and smoothed") {
  const report::Curve curve = report::over_seeds({{1, 2, 3}, {3, 6}}, {{10, 20, 30}, {10, 20}});
  REQUIRE(curve.line.size() == 3);
  CHECK(curve.line[1].x == 20);
  CHECK(curve.line[1].y == 4);
  CHECK(curve.line[2].y == 3);
  REQUIRE(curve.band.size() == 2);
  CHECK(curve.band[1].low == doctest::Approx(4 - std::sqrt(8)));
  CHECK(curve.band[1].high == doctest::Approx(4 + std::sqrt(8)));
  const auto apart = report::over_seeds({{1, 2, 3}, {3, 7}}, {{10, 20, 30}, {10, 30}}).line;
  REQUIRE(apart.size() == 2);  // at 20 the one alone would be no mean
  CHECK(apart[1].x == 30);
  CHECK(apart[1].y == 5);
  CHECK(report::smoothed({1, 2, report::kNaN, 6, 10}, 1) == std::vector<double>{1.5, 1.5, 4, 8, 8});
}

TEST_CASE("seeds that took all their steps end together, others where they were evaluated") {
  Json json = sample_comparison({"adamw"}, {.seeds = 2}, {"a", "b"});
  const auto at_the_end = [&](std::string_view stop) {
    for (int i : {0, 1}) {
      Json& run = json["runs"][i];
      run["stop"] = stop;
      for (Json& evaluation : run["epochs"]) evaluation["epoch"] = 1;
      run["epochs"].back().update({{"step", 100 + i}, {"dev", {{"accuracy", 0.6 + 0.2 * i}}}});
    }
    const std::string page = report_html(json);
    check_page(page);
    const std::size_t at = page.find("At the end: ", page.find("accuracy-desc"));
    return page.substr(at, page.find('<', at) - at);
  };
  CHECK(at_the_end("all steps are taken") == "At the end: adamw 70.0");
  CHECK(at_the_end("the time is up") == "At the end: adamw 80.0");
}

TEST_CASE("the cores that others took are those of the run in which they took most") {
  const Json comparison = {{"machine", {{"cores", 4}, {"threads", 2}}}};
  const Json busy = {{"others_cores", 3.5}}, calm = {{"others_cores", 2.5}},
             unknown = Json::object();
  CHECK(report::cores_taken(comparison, {&busy, &calm, &unknown}) == 1.5);
  CHECK(report::cores_taken(comparison, {&unknown}) == 0);
}

TEST_CASE("the band of a score does not go below 0") {
  Json json = sample_comparison({"adamw"}, {.seeds = 2}, {"a", "b"});
  for (int seed : {0, 1})
    for (Json& epoch : json["runs"][seed]["epochs"]) epoch["dev"]["accuracy"] = 0.02 * seed;
  const std::string page = report_html(json), chart = page.substr(page.find("Accuracy on dev"));
  CHECK_FALSE(contains(chart.substr(0, chart.find("</figure>")), ">−"));
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
        ">10⁻¹</text>"})
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
  CHECK(contains(page, "4 tensors at 1 step;"));
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

TEST_CASE("a chart says whether it shows the first seed or the mean of all") {
  Json json = sample_comparison({"adamw"}, {.seeds = 2}, {"a", "b"});
  const auto caption = [](const std::string& page, const std::string& heading) {
    const auto begin = page.find("<figcaption>", page.find("<h3>" + heading + "</h3>"));
    return page.substr(begin, page.find("</figcaption>", begin) - begin);
  };
  const std::string page = report_html(json);
  CHECK(contains(caption(page, "Training loss"), " Mean over seeds; bands: ± one"));
  CHECK(contains(caption(page, "Steps clipped by norm"), " Mean over seeds."));
  CHECK(contains(caption(page, "Step size"), " First seed."));
  json["runs"].erase(1);
  const std::string alone = report_html(json);
  for (const char* heading : {"Training loss", "Steps clipped by norm", "Step size"})
    CHECK_FALSE(contains(caption(alone, heading), "seed"));
}

TEST_CASE("where no step was clipped that is said, and no curve of zeros is drawn") {
  Json json = sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
  CHECK(contains(report_html(json), "Steps clipped by norm"));
  for (Json& clipped : json["runs"][0]["clipped"]) clipped = 0;
  const std::string page = report_html(json);
  CHECK_FALSE(contains(page, "Steps clipped by norm"));
  CHECK(contains(page, "No step was clipped."));
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
