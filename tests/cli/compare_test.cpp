/// minima compare.
#include <fmt/format.h>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("compare prints the table, and with --json the documented fields") {
  const Shell shell;
  const Answer answer = shell.minima(
      std::string("compare --json --seeds 2 --out run --optimizers adamw,adafactor,adamw8bit") +
      kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json json = parse_json(answer.out, "compare --json");
  CHECK(json["model"]["parameters"].get<i64>() > 1000);
  REQUIRE(json["runs"].size() == 6);
  for (const char* key :
       {"optimizer", "seed", "state_elements", "state_bytes", "state_bytes_predicted", "step_ms",
        "tokens_per_second", "peak_bytes", "dev", "test", "train_loss"})
    CHECK(json["runs"][0].contains(key));
  CHECK(shell.exists("run/report.html"));
  // A run of it, by itself, is told as well as on the comparison's page.
  const Answer one = shell.minima("report run/adamw-lr=0.001-seed1 --json");
  const Json alone = parse_json(one.out, "report --json");
  CHECK(alone["model"]["parameters"] == json["model"]["parameters"]);
  CHECK(alone["runs"][0]["peak_bytes"] == json["runs"][0]["peak_bytes"]);
  CHECK(shell.minima("--version").out ==
        "minima " + json["machine"]["minima"].get<std::string>() + "\n");
  const Answer table = shell.minima(std::string("compare --out run2") + kTiny);
  CHECK(table.out.find("adamw8bit") != std::string::npos);
  const Json told = read_json(shell.folder / "run2/comparison.json"), &data = told["data"],
             &words = data["bag_of_words"];
  CHECK(table.out.starts_with(fmt::format(
      "\nbuiltin: {} training, {} dev, {} test texts, 6 classes; model tiny: {} parameters; ",
      data["train"].get<i64>(), data["dev"].get<i64>(), data["test"].get<i64>(),
      told["model"]["parameters"].get<i64>())));
  CHECK(table.out.ends_with(fmt::format(
      "\nbag of words (naive Bayes): dev {:.1f} %, test {:.1f} %\nreport: run2/report.html\n",
      100 * words["dev"].get<double>(), 100 * words["test"].get<double>())));
  CHECK(contains(table.err, "; all go to run2/run.json\n"));
  CHECK(contains(table.err, "\nadamw:lr=0.001 seed 1  epoch 1  step "));
  CHECK(json["arguments"]["seeds"] == "2");
  CHECK(contains(answer.err, "\nadamw:lr=0.001 seed 2  epoch 1  step "));
  const std::string both = "report run/adamw-lr=0.001-seed1 run/adamw-lr=0.001-seed2";
  CHECK(
      shell.minima(both).out.ends_with("\nreport: run/adamw-lr=0.001-seed1/report/report.html\n"));
  const Answer tuned =
      shell.minima(std::string("compare --tune 2 --optimizers sgd:lr=0.1 --out tuned") + kTiny);
  CHECK(contains(tuned.out, ": dev accuracy by learning rate  0.0316: "));
  CHECK(contains(tuned.err, "note: sgd:lr=0.1 has no momentum"));
}

TEST_CASE("the yardstick of a comparison of pairs counts the words of both texts") {
  const Shell shell;
  std::string rows = "label\ta\tb\n";
  for (int i = 0; i < 60; ++i)
    rows += fmt::format("{}\tsome text {}\t{}\n", i % 2, i, i % 2 ? "blue" : "red");
  shell.write("pairs.tsv", rows);
  const Answer answer = shell.minima(
      std::string("compare --json --data pairs.tsv --text-column a --pair-column b --out run "
                  "--optimizers sgd") +
      kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(parse_json(answer.out, "compare --json")["data"]["bag_of_words"]["test"] == 1);
}

TEST_CASE("a comparison is gone on with by compare alone, and no other run takes its folder") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("compare --out both --optimizers adamw,sgd") + kTiny).code == 0);
  const std::string before = read_file(shell.folder / "both/run.json");
  const Answer resumed = shell.minima("train --resume both");
  CHECK(resumed.code == 2);
  CHECK(resumed.err.find("both: is a folder of minima compare, not of minima train; go on with: "
                         "minima compare --resume both") != std::string::npos);
  const Answer part = shell.minima("train --resume both/adamw-lr=0.001-seed1");
  CHECK(part.code == 2);
  CHECK(part.err.find("minima compare --resume " + (shell.folder / "both").string()) !=
        std::string::npos);
  for (const char* verb : {"train", "compare"}) {
    const Answer again = shell.minima(std::string(verb) + " --out both" + kTiny);
    CHECK(again.code == 2);
    CHECK(again.err.find("minima compare --resume both") != std::string::npos);
  }
  CHECK(read_file(shell.folder / "both/run.json") == before);
  CHECK(shell.minima("compare --resume both").code == 0);
}

TEST_CASE("a comparison whose time was up says how it goes on, and does, with the minutes kept") {
  const Shell shell;
  const std::string compare = std::string("compare --optimizers adamw,sgd") + kTiny;
  const Answer brief = shell.minima(compare + " --minutes 0.000001 --out both");
  CAPTURE(brief.err);
  CHECK(brief.err.find("go on without a limit: minima compare --resume both --minutes 0\n") !=
        std::string::npos);
  const Answer resumed = shell.minima("compare --json --resume both --minutes 0");
  CHECK(resumed.err.find("go on without") == std::string::npos);
  const Json result = parse_json(resumed.out, "compare --json");
  REQUIRE(result["runs"].size() == 2);
  for (const Json& run : result["runs"]) CHECK(run["stop"] == "all steps are taken");
  CHECK(read_json(shell.folder / "both/run.json")["arguments"]["minutes"] == "0");
}

TEST_CASE("report shows what there is of a stopped comparison, and names the runs that it lacks") {
  const Shell shell;
  const std::string compare =
      std::string("compare --json --out both --optimizers adamw,sgd --group nowhere:lr=1") + kTiny;
  CHECK(shell.minima(compare).code == 2);
  CHECK_FALSE(shell.exists("both"));
  REQUIRE(shell.minima(std::string("compare --out both --optimizers adamw,sgd") + kTiny).code == 0);
  check_refused(shell, "inspect both",
                {"both: holds the folders of runs", "both/adamw", "both/sgd"}, "");
  // As it is between its two runs.
  Json json = read_json(shell.folder / "both/comparison.json");
  json["unfinished"] = Json::array({{{"spec", "sgd"}, {"seed", 1}}});
  json["runs"].erase(1);
  shell.write("both/comparison.json", json.dump());
  const Answer report = shell.minima("report both");
  CHECK(report.code == 0);
  CHECK(report.err.find("sgd with seed 1 has not ended") != std::string::npos);
  CHECK(report.out.find("adamw") != std::string::npos);
  CHECK(read_file(shell.folder / "both/report.html").find("sgd with seed 1 has not ended") !=
        std::string::npos);
  json["runs"] = Json::array();
  shell.write("both/comparison.json", json.dump());
  check_refused(shell, "report both", {"finished run; the folder of a comparison's run"}, "");
  const Answer twice = shell.minima("report both both");
  CHECK(twice.code == 2);
  CHECK(twice.err.find("named twice") != std::string::npos);
}

TEST_CASE("report refuses what is no comparison, naming the file") {
  const Shell shell;
  std::filesystem::create_directories(shell.folder / "junk");
  for (const std::string runs : {"[{}]", "[1]", R"([{"spec":1,"seed":1}])"}) {
    shell.write("junk/comparison.json",
                R"({"data":{},"model":{},"training":{},"failed":[],"runs":)" + runs + "}");
    const Answer answer = shell.minima("report junk");
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(answer.err.find("junk/comparison.json") != std::string::npos);
  }
  std::filesystem::remove(shell.folder / "junk/comparison.json");
  for (const bool begun : {false, true}) {
    shell.write("junk/run.json", begun ? R"({"arguments": {}})" : "{}");
    CHECK((shell.minima("report junk").err.find("can be gone on with (--resume)") !=
           std::string::npos) == begun);
  }
}

TEST_CASE("every optimizer of a comparison has its own folder, whatever its spec") {
  const Shell shell;
  std::string names = "embeddings";
  for (int i = 0; i < 40; ++i) names += "|embeddings";
  const std::string long_one = "adamw:lr=0.001" + std::string(100, '0');
  const Answer answer = shell.minima(
      "compare --json --out run --optimizers "
      "'adamw8bit:fp32=weight/exp_avg,adamw8bit:fp32=weight|exp_avg,"
      "adamw8bit:fp32=" +
      names + "," + long_one + "," + long_one + ":weight_decay=0.5'" + kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(parse_json(answer.out, "compare --json")["runs"].size() == 5);
  const std::filesystem::directory_iterator all(shell.folder / "run");
  CHECK(std::count_if(begin(all), end(all), [](const auto& one) {
          return std::filesystem::exists(one.path() / "record.json");
        }) == 5);
}

TEST_CASE("an optimizer that failed has a line in the table of a comparison") {
  const Shell shell;
  const Answer answer =
      shell.minima(std::string("compare --out run --optimizers sgd:lr=1e30,adamw") + kTiny);
  CHECK(answer.code == 1);
  CHECK(answer.err.find("sgd:lr=1e30 with seed 1 failed: ") != std::string::npos);
  CHECK(answer.err.ends_with("minima: compare: runs of sgd:lr=1e30 failed; all others are done\n"));
  CHECK(answer.out.find("sgd:lr=1e30             failed") != std::string::npos);
}
