/// minima compare.
#include "core/json.hpp"
#include "tests/cli/shell.hpp"

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
  const Answer table = shell.minima(std::string("compare --out run2") + kTiny);
  CHECK(table.out.find("adamw8bit") != std::string::npos);
  CHECK(table.out.find("bag of words") != std::string::npos);
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
}
