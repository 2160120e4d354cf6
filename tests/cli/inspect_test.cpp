/// minima inspect.
#include <fmt/format.h>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("inspect opens the state that train wrote, compares two, and refuses what is none") {
  const Shell shell;
  for (const auto& [optimizer, run] : {std::pair{"adamw", "whole"},
                                       {"adamw8bit:min_8bit_size=0", "eight"},
                                       {"sgd:momentum=0.9", "third"}}) {
    const Answer trained =
        shell.minima(fmt::format("train --optimizer {} --out {}{}", optimizer, run, kTiny));
    CAPTURE(trained.err);
    REQUIRE(trained.code == 0);
  }
  REQUIRE(shell.minima("train --out steps --batch 128 --save-every 2" + std::string(kTiny)).code ==
          0);
  const Answer one = shell.minima("inspect eight/final --against whole/final --json");
  CAPTURE(one.err);
  REQUIRE(one.code == 0);
  const Json json = parse_json(one.out, "inspect --json");
  CHECK(json["optimizer"] == "adamw8bit");
  CHECK(json["slots"][0]["codes"]["histogram"].size() == 256);
  CHECK(json["against"]["common"].size() == json["slots"].size());
  i64 bytes = 0;
  for (const Json& slot : json["slots"]) bytes += slot["bytes"].get<i64>();
  CHECK(json["totals"]["total"]["bytes"] == bytes);

  const Answer table = shell.minima("inspect eight/final --slot exp_avg_sq --parameter bias");
  CHECK(table.code == 0);
  CHECK(table.out.find("/exp_avg_sq") != std::string::npos);
  CHECK(table.out.find("weight") == std::string::npos);
  const Answer two = shell.minima("inspect whole/final eight/final");
  CHECK(two.code == 0);
  CHECK(two.out.find("fp32, block8") != std::string::npos);
  CHECK(two.out.find("A: whole/final/optimizer.safetensors, adamw\n"
                     "B: eight/final/optimizer.safetensors, adamw8bit\n\nB − A\n") == 0);
  CHECK(two.out.find("relative: the largest difference of an entry") != std::string::npos);
  const Answer run = shell.minima("inspect whole");
  CHECK(run.code == 0);
  CHECK(run.out == shell.minima("inspect whole/final").out);
  const Answer within = shell.minima("train --resume whole/final");
  CHECK(within.code == 2);
  CHECK(within.err == "minima: whole/final: is a folder within a run's; give that: whole/\n");

  const std::string state = read_file(shell.folder / "whole/final/optimizer.safetensors");
  shell.write("short.safetensors", state.substr(0, state.size() / 2));
  std::string bent = state;
  bent[state.size() - 100] ^= 4;
  shell.write("bent.safetensors", bent);
  for (const auto& [arguments, word] :
       {std::pair{"inspect short.safetensors", "short.safetensors"},
        {"inspect bent.safetensors", "checksum"},
        {"inspect whole/final/model.safetensors", "not an optimizer's state"},
        {"inspect nowhere", "nowhere"},
        {"inspect .", "./eight, ./steps, ./third, ./whole"},
        {"inspect steps/checkpoints", "steps/checkpoints/step-2, steps/checkpoints/step-4"},
        {"memory --model whole", "whole: is a run's folder; its model is whole/final"},
        {"inspect whole/final --slot exp_avg_sqr", "did you mean 'exp_avg_sq'?"},
        {"inspect whole/final --parameter nothing", "nothing"},
        {"inspect whole/final --parameter 'bias|nothing'", "contains 'nothing'"},
        {"inspect whole/final --against eight/final", "fp32"},
        {"inspect third/final --against whole/final", "it has none of these slots"}}) {
    CAPTURE(arguments);
    const Answer refused = shell.minima(arguments);
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(std::ranges::count(refused.err, '\n') == 1);
    CHECK(refused.err.find(word) != std::string::npos);
  }
}

TEST_CASE("inspect says of an optimizer without state that it keeps none") {
  const Shell shell;
  REQUIRE(shell.minima("train --optimizer sgd:momentum=0 --out plain" + std::string(kTiny)).code ==
          0);
  CHECK(shell.minima("inspect plain").out.find("the state of sgd, which keeps none\n") !=
        std::string::npos);
  CHECK(shell.minima("inspect plain plain").out.ends_with("\n\nno slot is in both\n"));
  const Json json = parse_json(shell.minima("inspect plain --json").out, "inspect --json");
  CHECK(json["totals"]["total"]["bytes"] == 0);
  CHECK(shell.minima("inspect plain --slot exp_avg").err.find("plain keeps no state") !=
        std::string::npos);
}
