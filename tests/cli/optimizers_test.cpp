/// minima optimizers.
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

Json by_name(const Json& list, const std::string& name) {
  for (const Json& one : list)
    if (one["name"] == name) return one;
  FAIL("there is no " << name);
  return {};
}

}  // namespace

TEST_CASE("optimizers lists all of them and the schedules, and says what each option is") {
  const Shell shell;
  const Answer list = shell.minima("optimizers");
  CHECK(list.code == 0);
  for (const char* line :
       {"\nsgd                      1.0000         4.0000  sgd:lr=0.1:momentum=0.9\n",
        "\nadamw8bit                2.0000         2.0313  adamw8bit:lr=0.001\n",
        "\nwarm_restarts    minimum=0:T_0=none:T_mult=1\n"})
    CHECK(contains(list.out, line));
  const Json json = parse_json(shell.minima("optimizers --json").out, "optimizers --json");
  for (const char* kind : {"optimizers", "schedules"}) {
    REQUIRE(json[kind].size() >= 10);
    for (const Json& one : json[kind]) {
      const auto name = one["name"].get<std::string>();
      CAPTURE(name);
      CHECK(list.out.find("\n" + name + " ") != std::string::npos);
      const Answer alone = shell.minima("optimizers " + name);
      CHECK(alone.code == 0);
      for (const Json& option : one["options"]) {
        CAPTURE(option.dump());
        CHECK(alone.out.find("  " + option["name"].get<std::string>() + " ") != std::string::npos);
        CHECK(!option["takes"].get<std::string>().empty());
        const auto meaning = option["meaning"].get<std::string>();
        CHECK(!meaning.empty());
        CHECK((option["default"] == "none") == (meaning.find("none: ") != std::string::npos));
      }
    }
  }
  const Json adamw = by_name(json["optimizers"], "adamw");
  const Json beta1 = by_name(adamw["options"], "beta1");
  CHECK(beta1["default"] == "0.9");
  CHECK(beta1["takes"] == "a number, at least 0 and below 1");
  CHECK(by_name(adamw["options"], "decay_order")["takes"] == "before, after");
  const Json eight = by_name(json["optimizers"], "adamw8bit");
  CHECK(std::abs(eight["bytes_a_weight"].get<double>() - 2.03125) < 1e-5);  // 2 · (1 + 4/256)
  CHECK(by_name(eight["options"], "state")["default"] == "block8");
  CHECK(by_name(json["optimizers"], "sgd")["numbers_a_weight"] == 1);
  CHECK(by_name(by_name(json["optimizers"], "lion")["options"], "beta2")["meaning"] !=
        by_name(adamw["options"], "beta2")["meaning"]);
  CHECK(by_name(by_name(json["schedules"], "warm_restarts")["options"], "T_0")["takes"] ==
        "a whole number, at least 1; or none");
  CHECK(shell.minima("optimizers adamm").err.find("did you mean 'adam'?") != std::string::npos);
  CHECK(shell.minima("optimizers cosin").err.find("did you mean 'cosine'?") != std::string::npos);
  CHECK(shell.minima("optimizers linear").out == "linear has no options\n");
  CHECK(shell.minima("optimizers adamw:lr=7").err.find("give the name alone") != std::string::npos);
}
