/// What a log's reader and a report make of lines that are damaged, or another program's.
#include "train/metrics_log.hpp"

#include "tests/data/files.hpp"
#include "tests/support.hpp"
#include "train/collect.hpp"
#include "train/compare.hpp"
#include "train/report.hpp"

using namespace minima;

namespace {

/// The log of three steps in which all happens that a log has a line for.
std::vector<Json> whole_log(const test::Folder& folder) {
  const std::string path = folder.path() + "/metrics.jsonl";
  {
    MetricsLog log(path);
    const Json group = {{"parameters", 2}, {"options", {{"lr", 1e-3}}}};
    log.write(Json{{"run",
                    {{"optimizer", "adamw"},
                     {"options", {{"groups", Json::array({group})}}},
                     {"state_elements", 20},
                     {"state_bytes", 80},
                     {"seed", 1},
                     {"steps", 3},
                     {"schedule", "linear"},
                     {"warmup", 0.1},
                     {"accumulate", 1},
                     {"precision", "fp32"}}}});
    for (i64 step = 1; step <= 3; ++step)
      log.write(StepRecord{
          step, 1, 0.7, 0.5, 2, true, 12, 32, 400, {{"layer.0.w", 0.1, 1, 0.001, 0.5, false}}});
    ConfusionMatrix matrix(2);
    matrix.add(0, 0, 3);
    matrix.add(1, 0);
    const Evaluation evaluation{matrix, 0.6};
    log.write(Json{{"alarm", Alarm{2, Alarm::Of::ratio, "layer.0.w", 0.3, 0.01}.to_json()}});
    log.write(
        Json{{"switch", SwitchRecord{2, "adamw", "lion", 10, {{"w", "exp_avg", ""}}}.to_json()}});
    log.write(EvaluationRecord{1, 3, 0.7, evaluation, 1.5});
    log.write(Json{{"best_epoch", 1}, {"test", evaluation.to_json()}});
  }
  std::vector<Json> lines;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) lines.push_back(parse_json(line, "log"));
  return lines;
}

/// The collected report of a log with these lines.
Json collected(const test::Folder& folder, const std::vector<Json>& lines,
               const std::string& last = "") {
  std::string text;
  for (const Json& line : lines) text += line.dump() + "\n";
  folder.write("metrics.jsonl", text + last);
  return collect_runs({folder.path()});
}

/// It has a page and a table, whatever its numbers are.
void check_shown(const Json& comparison) {
  CHECK_FALSE(comparison_table(comparison).empty());
  std::string page = report_html(comparison);
  page = page.substr(page.find("</style>"));
  for (const char* no_place : {"nan", "inf ", "inf\"", "inf<"})
    CHECK(page.find(no_place) == std::string::npos);
}

const std::vector<Json> kShapes = {nullptr,
                                   true,
                                   3,
                                   -1,
                                   0.5,
                                   1e300,
                                   -1e300,
                                   1e-320,
                                   std::numeric_limits<u64>::max(),
                                   "text",
                                   Json::array(),
                                   Json::object(),
                                   {1, {nullptr, {"text"}}},
                                   {{"loss", Json::array()}, {"step", 1e300}}};

}  // namespace

TEST_CASE("a report tells how many lines of which log are damaged") {
  const test::Folder folder;
  const std::vector<Json> whole = whole_log(folder);
  const std::string file = folder.path() + "/metrics.jsonl";
  Json all = collected(folder, whole, "{\"step\": 4, \"gra");  // the last line was cut off
  CHECK(all["damaged"].empty());
  CHECK(what_it_lacks(all).empty());
  CHECK(report_html(all).find("damaged") == std::string::npos);
  CHECK(read_metrics(file).damaged == 0);
  for (const auto& [last, said] :
       {std::pair{"!\n", "one line is damaged and left out"},
        {"!\n{\"a\": 1, \"a\": 2}\n[]\n", "3 lines are damaged and left out"}}) {
    all = collected(folder, whole, last);
    CHECK(what_it_lacks(all) == std::vector{fmt::format("{}: {}", file, said)});
    CHECK(report_html(all).find(said) != std::string::npos);
  }
  const test::Folder other;
  whole_log(other);
  all = collect_runs({other.path(), folder.path()});  // of the second one too
  CHECK(what_it_lacks(all).size() == 1);
  folder.write("metrics.jsonl", "!\n!\n");
  CHECK_THROWS_WITH_AS(collect_runs({folder.path()}), doctest::Contains("damaged lines: 2"), Error);
}

TEST_CASE("a line that is none of the log's, whatever its shape, changes nothing of a report") {
  const test::Folder folder;
  const std::vector<Json> whole = whole_log(folder);
  const std::string expected = collected(folder, whole)["runs"].dump();
  std::vector<std::string> damaged = {"",
                                      "3",
                                      "null",
                                      "\"text\"",
                                      "[1, [2]]",
                                      "{",
                                      "{\"a\":}",
                                      "1e999",
                                      "{\"a\":1e999}",
                                      "\xff",
                                      std::string(1, '\0'),
                                      std::string(300, '[')};
  for (const Json& shape : kShapes) {
    for (const char* own : {"run", "grad_norm", "train_loss", "alarm", "switch", "test"})
      damaged.push_back(Json{{own, shape}}.dump());
    const Json all = collected(folder, whole, Json{{"mine", shape}}.dump() + "\n");
    CHECK(all["damaged"].empty());
    CHECK(all["runs"].dump() == expected);
  }
  for (const std::string& line : damaged) {
    CAPTURE(line);
    const Json all = collected(folder, whole, line + "\n");
    REQUIRE(all["damaged"].size() == 1);
    CHECK(all["damaged"][0]["lines"] == 1);
    CHECK(all["runs"].dump() == expected);
  }
}

TEST_CASE("a value of the log that is something else, or beyond all sense, harms no report") {
  const test::Folder folder;
  const std::vector<Json> whole = whole_log(folder);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const Json values = whole[i].flatten();
    for (const auto& [place, value] : values.items())
      for (const Json& shape : kShapes) {
        CAPTURE(place);
        CAPTURE(shape.dump());
        std::vector<Json> lines = whole;
        lines[i][Json::json_pointer(place)] = shape;
        check_shown(collected(folder, lines));
      }
  }
}

TEST_CASE("a log's best evaluation is that by the run's metric, and the last where it has none") {
  const test::Folder folder;
  std::vector<Json> lines = whole_log(folder);
  std::erase_if(lines, [](const Json& line) { return line.contains("test"); });
  for (const double accuracy : {0.9, 0.2}) {
    Json evaluation =
        *std::ranges::find_if(lines, [](const Json& line) { return line.contains("train_loss"); });
    evaluation["dev"]["accuracy"] = accuracy;
    evaluation["dev"]["loss"] = accuracy + 1;
    lines.push_back(evaluation);
  }
  const auto best = [&](const char* metric) {
    const Json run = {{"arguments", {}}, {"training", {{"metric", metric}}}};
    folder.write("run.json", run.dump());
    return collected(folder, lines)["runs"][0]["dev"]["loss"].get<double>();
  };
  CHECK(best("accuracy") == 1.9);
  CHECK(best("loss") == 0.6);
  CHECK(best("") == 1.2);
}

TEST_CASE("of a log with fewer steps than were to be taken it is said that it has not ended") {
  const test::Folder folder;
  std::vector<Json> lines = whole_log(folder);
  std::erase_if(lines, [](const Json& line) { return line.contains("test"); });
  lines[0]["run"]["steps"] = 6180;
  const auto told = [&](const Json& run) {
    folder.write("run.json", run.dump());
    const Json all = collected(folder, lines);
    CHECK(report_html(all).find("has taken 3 of 6,180 steps") != std::string::npos);
    return what_it_lacks(all);
  };
  CHECK(told({{"arguments", {}}, {"spec", "adamw:lr=1"}}) ==
        std::vector<std::string>{"adamw:lr=1 with seed 1 has not ended"});
  CHECK(told({{"arguments", {}}, {"stop", "out of time"}}).empty());
}

TEST_CASE("a log's report has the model's size, and of a comparison's run all that was recorded") {
  const test::Folder folder;
  const std::vector<Json> lines = whole_log(folder);
  const Json task = {{"data", "sample"}, {"origin", "made up"}, {"model", "tiny"}};
  folder.write("run.json", Json{{"arguments", {}}, {"task", task}, {"parameters", 12345}}.dump());
  CHECK(report_html(collected(folder, lines)).find("model tiny, 12,345 parameters") !=
        std::string::npos);
  CHECK_FALSE(collected(folder, lines)["runs"][0].contains("peak_bytes"));
  folder.write("record.json", Json{{"spec", "adamw:lr=1"}, {"peak_bytes", 3 << 20}}.dump());
  const Json all = collected(folder, lines);
  CHECK(all["runs"][0]["spec"] == "adamw:lr=1");
  CHECK(report_html(all).find(">3.0</data>") != std::string::npos);
  for (const char* damaged : {"", "{", "[]", "3"}) {
    folder.write("record.json", damaged);
    CHECK(collected(folder, lines)["runs"][0]["step_ms"] == 12);
  }
}
