/// Schedules and reduce on plateau, beside the recorded curves of golden.cpp.
#include "optim/schedule.hpp"

#include "core/files/json.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::vector<double> factors(Schedule schedule, i64 steps) {
  std::vector<double> result;
  for (i64 k = 0; k < steps; ++k) result.push_back(schedule.factor(k));
  return result;
}

void check_factors(const std::string& spec, i64 warmup, i64 total,
                   const std::vector<double>& expected) {
  CAPTURE(spec);
  Schedule schedule = parse_schedule(spec);
  schedule.warmup = warmup;
  schedule.total = total;
  const std::vector<double> actual = factors(schedule, static_cast<i64>(expected.size()));
  for (std::size_t k = 0; k < expected.size(); ++k) {
    CAPTURE(k);
    CHECK(actual[k] == doctest::Approx(expected[k]).epsilon(1e-12));
  }
}

std::string refusal(const std::string& spec) {
  return test::error_of([&] { parse_schedule(spec); });
}

}  // namespace

TEST_CASE("schedules warm up, follow their curve, and stay at its end") {
  check_factors("linear", 2, 6, {0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0});
  check_factors("linear", 2, 2, {0, 0.5, 0, 0});
  check_factors("linear", 3, 2, {0, 1 / 3.0, 2 / 3.0, 0, 0});
  check_factors("step:step_size=2:gamma=0.5", 2, 8, {0, 0.5, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125});
  check_factors("step", 0, 9, {1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001});
  check_factors(
      "warm_restarts:T_0=2:T_mult=2:minimum=0.2", 1, 0,
      {0, 1, 0.6, 1, 0.2 + 0.8 * 0.85355339059327373, 0.6, 0.2 + 0.8 * 0.14644660940672627, 1});
  check_factors("warm_restarts:T_0=2", 0, 0, {1, 0.5, 1, 0.5, 1});
  check_factors("warm_restarts", 0, 4, {1, 0.85355339059327373, 0.5, 0.14644660940672627, 1});
}

TEST_CASE("one_cycle rises, falls and ends, in two phases and in three") {
  // The top is at step 0.4 · 10 − 1 = 3, the end at 9.
  check_factors("one_cycle:pct_start=0.4:anneal=linear:div_factor=4:final_div_factor=10", 0, 10,
                {0.25, 0.5, 0.75, 1, 0.8375, 0.675, 0.5125, 0.35, 0.1875, 0.025, 0.025, 0.025});
  check_factors(
      "one_cycle:pct_start=0.4:anneal=linear:div_factor=4:final_div_factor=10"
      ":three_phase=true",
      0, 10, {0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0.175, 0.1, 0.025, 0.025});
  check_factors("one_cycle:pct_start=0.4:div_factor=4:final_div_factor=10:three_phase=true", 0, 10,
                {0.25, 0.4375, 0.8125, 1, 0.8125, 0.4375, 0.25, 0.19375, 0.08125, 0.025});
  // So short that the rise is over before the first step.
  check_factors("one_cycle:anneal=linear:div_factor=4:final_div_factor=10", 0, 2,
                {1 - 0.975 * 0.4 / 1.4, 0.025, 0.025});
}

TEST_CASE("there is no step below 0") {
  CHECK_THROWS_WITH_AS(parse_schedule("linear").factor(-1), "linear: there is no step -1", Error);
}

TEST_CASE("a schedule's spec is refused with the option, its value and what it may be") {
  CHECK(refusal("linaer") ==
        "no schedule named 'linaer'; did you mean 'linear'? There are: constant, linear, cosine, "
        "cosine_restarts, polynomial, inverse_sqrt, step, warm_restarts, one_cycle, plateau");
  CHECK(refusal("one_cycle:pct_strat=0.3") ==
        "one_cycle: no option named 'pct_strat'; did you mean 'pct_start'? It has: pct_start, "
        "div_factor, final_div_factor, anneal, three_phase");
  CHECK(refusal("linear:power=2") == "linear: no option named 'power'; this schedule has none");
  CHECK(refusal("plateau:pateince=2").find("did you mean 'patience'?") != std::string::npos);
  CHECK(refusal("one_cycle:pct_start=1") ==
        "one_cycle: pct_start is 1; it must be above 0 and below 1");
  CHECK(refusal("one_cycle:anneal=cosine") ==
        "one_cycle: anneal is 'cosine'; it must be one of: cos, linear");
  CHECK(refusal("one_cycle:three_phase=true:pct_start=0.6") ==
        "one_cycle: three_phase with pct_start 0.6; it falls as long as it rises, so pct_start "
        "must be at most 0.5");
  CHECK(refusal("cosine:cycles=0") == "cosine: cycles is 0; it must be above 0");
  CHECK(refusal("step:step_size=1.5") == "step: step_size is 1.5; it must be a whole number");
  CHECK(
      refusal("warm_restarts:T_0=0").starts_with("warm_restarts: T_0 is 0; it must be at least 1"));
  CHECK(refusal("plateau:factor=1") == "plateau: factor is 1; it must be at least 0 and below 1");
  CHECK(refusal("polynomial:end=2") == "polynomial: end is 2; it must be at least 0 and at most 1");
  CHECK(refusal("cosine:minimum") == "options 'minimum': 'minimum' is not of the form name=value");
  CHECK_THROWS_WITH_AS((Schedule{.kind = "cosine", .cycles = -1}.factor(0)),
                       "cosine: cycles is -1; it must be above 0", Error);
  CHECK_THROWS_WITH_AS(
      (Schedule{.kind = "one_cycle", .warmup = 2, .total = 10}.factor(0)),
      "one_cycle: a warm-up of 2 steps; it rises by itself: give pct_start instead", Error);
}

TEST_CASE("reduce on plateau judges by its mode and its threshold") {
  const auto after = [](ReduceOnPlateau::Options options, const std::vector<double>& metrics) {
    options.factor = 0.5;
    ReduceOnPlateau plateau(options);
    for (double metric : metrics) plateau.step(metric);
    return plateau.factor();
  };
  using Mode = ReduceOnPlateau::Mode;
  using Threshold = ReduceOnPlateau::Threshold;
  CHECK(after({.patience = 0, .threshold = 0.1}, {1, 0.89}) == 1);
  CHECK(after({.patience = 0, .threshold = 0.1}, {1, 0.91}) == 0.5);
  CHECK(after({.mode = Mode::max, .patience = 0, .threshold = 0.1}, {2, 2.21}) == 1);
  CHECK(after({.mode = Mode::max, .patience = 0, .threshold = 0.1}, {2, 2.19}) == 0.5);
  const auto absolute = Threshold::abs;
  CHECK(after({.patience = 0, .threshold = 0.1, .threshold_mode = absolute}, {2, 1.89}) == 1);
  CHECK(after({.patience = 0, .threshold = 0.1, .threshold_mode = absolute}, {2, 1.91}) == 0.5);
  CHECK(after({.mode = Mode::max, .patience = 0, .threshold = 0.1, .threshold_mode = absolute},
              {2, 2.11}) == 1);
  CHECK(after({.patience = 1}, {1, 1}) == 1);
  CHECK(after({.patience = 1}, {1, 1, 1}) == 0.5);
  CHECK(after({.patience = 0}, {1, std::nan("")}) == 0.5);
  CHECK(after({.patience = 0}, {INFINITY}) == 0.5);  // no better than what there was before
  CHECK(after({.patience = 1}, {std::nan(""), 1, 0.5}) == 1);
  CHECK(after({.patience = 0, .cooldown = 2}, {1, 1, 1, 1}) == 0.5);
  CHECK(after({.patience = 0, .cooldown = 2}, {1, 1, 1, 1, 1}) == 0.25);
  CHECK(after({.patience = 0, .minimum = 0.4}, {1, 1, 1, 1}) == 0.4);
}

TEST_CASE("reduce on plateau goes on from its saved state, and refuses another") {
  const ReduceOnPlateau::Options options{.factor = 0.5, .patience = 1, .cooldown = 1};
  ReduceOnPlateau whole(options), first(options);
  const std::vector<double> metrics{1, 0.9, 0.9, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8};
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    whole.step(metrics[i]);
    first.step(metrics[i]);
    ReduceOnPlateau resumed(options);
    resumed.restore(parse_json(first.state().dump(), "state"));
    first = resumed;
    CAPTURE(i);
    CHECK(first.factor() == whole.factor());
  }
  CHECK(whole.factor() == 0.25);
  const Json before = whole.state();
  for (const char* text : {"{}", "[]", R"({"best":1,"bad":-1,"cooldown":0,"factor":1})",
                           R"({"best":1,"bad":0,"cooldown":0,"factor":2})",
                           R"({"best":"1","bad":0,"cooldown":0,"factor":1})"})
    CHECK_THROWS_AS(whole.restore(parse_json(text, "state")), Error);
  CHECK(whole.state() == before);
}

}  // namespace minima
