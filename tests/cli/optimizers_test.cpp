/// minima optimizers.
#include "core/json.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("optimizers lists all of them and the schedules, and says what each option is") {
  const Shell shell;
  const Answer list = shell.minima("optimizers");
  CHECK(list.code == 0);
  const Json json = parse_json(shell.minima("optimizers --json").out, "optimizers --json");
  REQUIRE(json["optimizers"].size() >= 10);
  for (const Json& each : json["optimizers"]) {
    const auto name = each["name"].get<std::string>();
    CAPTURE(name);
    CHECK(list.out.find("\n" + name + " ") != std::string::npos);
    const Answer one = shell.minima("optimizers " + name);
    CHECK(one.code == 0);
    CHECK(one.out.find("  lr ") != std::string::npos);
    CHECK(one.out.find("  block_size ") != std::string::npos);
  }
  CHECK(list.out.find("\nwarm_restarts ") != std::string::npos);
  for (const Json& option : json["common"]) {
    CHECK(!option["meaning"].get<std::string>().empty());
    CHECK(!option["takes"].get<std::string>().empty());
  }
  for (const Json& one : json["optimizers"]) {
    if (one["name"] == "adamw8bit")
      CHECK(std::abs(one["bytes_a_weight"].get<double>() - 2.03125) < 1e-5);  // 2 · (1 + 4/256)
    if (one["name"] == "sgd") CHECK(one["numbers_a_weight"] == 1);
    if (one["name"] != "adamw") continue;
    CHECK(one["options"][1]["name"] == "beta1");
    CHECK(one["options"][1]["default"] == "0.9");
    CHECK(one["options"][1]["takes"] == "a number, at least 0 and below 1");
    CHECK(one["options"].back()["takes"] == "before, after");
  }
  for (const Json& one : json["schedules"])
    if (one["name"] == "warm_restarts")
      CHECK(one["options"][1]["takes"] == "a whole number, at least 1; or none");
  CHECK(shell.minima("optimizers adamm").err.find("did you mean 'adam'?") != std::string::npos);
}
