#include "core/text/nearest.hpp"

#include "tests/support.hpp"

using namespace minima;

TEST_CASE("what somebody may have meant is near by its letters, whatever their case, or not said") {
  const std::vector<std::string> names{"sgd", "adamw", "adafactor"};
  CHECK(nearest("ADAMW", names) == "adamw");
  CHECK(did_you_mean("ADAMW", names) == "; did you mean 'adamw'?");
  CHECK(did_you_mean("adamv", names) == "; did you mean 'adamw'?");
  CHECK(did_you_mean("adfctor", names) == "; did you mean 'adafactor'?");
  CHECK(did_you_mean("admaw", names) == "; did you mean 'adamw'?");
  CHECK(did_you_mean("sg", names) == "; did you mean 'sgd'?");
  CHECK(did_you_mean("muon", {"lion", "came"}) == ".");
  CHECK(did_you_mean("q", {"d", "lr"}) == ".");
  for (const char* far : {"", "x", "extra", "rmsprop"}) CHECK(did_you_mean(far, names) == ".");
  CHECK(did_you_mean("sgd", {}) == ".");
}
