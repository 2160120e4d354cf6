/// When an alarm rings.
#include "train/watch.hpp"

#include "tests/support.hpp"
#include "train/switch.hpp"

using namespace minima;
using test::kNaN;

namespace {

StepReport report(double ratio, double norm = 1) {
  StepReport report;
  report.grad_norm = norm;
  report.tensors.push_back({.name = "w",
                            .gradient_rms = 1,
                            .weight_rms = 2,
                            .update_rms = 2 * ratio,
                            .step_size = 1e-3,
                            .update_clipped = false});
  return report;
}

}  // namespace

TEST_CASE("an alarm rings once for an episode, above ten times the running median") {
  Watch watch;
  i64 step = 0;
  const auto count = [&](double ratio) { return watch.observe(++step, 1, report(ratio)).size(); };
  for (const double usual : {1e-3, 1.2e-3, 0.9e-3, 1.1e-3, 1e-3}) CHECK(count(usual) == 0);
  CHECK(count(0.9e-2) == 0);
  const auto rung = watch.observe(++step, 1, report(1.2e-2));
  REQUIRE(rung.size() == 1);
  CHECK(rung[0].tensor == "w");
  CHECK(rung[0].step == 7);
  CHECK(rung[0].usual == doctest::Approx(1.05e-3));
  CHECK(rung[0].text() == "step 7: w moves by 0.012 of its size, 11.4 times the usual 0.00105");
  CHECK(count(2e-2) == 0);  // the same episode
  CHECK(count(1e-3) == 0);  // which ends
  CHECK(count(2e-2) == 1);  // another
}

TEST_CASE(
    "a ratio that falls slower than the learning rate is no spike, nor one that a warm-up raises") {
  // Momentum that holds earlier steps: the rate falls to a thousandth, the updates but to a twentieth.
  Watch falling;
  for (int i = 0; i < 20; ++i)
    CHECK(falling.observe(i + 1, std::pow(10, -i / 6.0), report(1e-2 * std::pow(0.85, i))).empty());
  Watch rising;
  for (int i = 0; i < 20; ++i)
    CHECK(rising.observe(i + 1, std::pow(10, i / 6.0 - 3), report(1e-2 * std::pow(10, i / 6.0 - 3)))
              .empty());
  CHECK(rising.observe(21, 1, report(0.5)).size() == 1);
}

TEST_CASE("a ratio that rises to what is usual elsewhere is no spike") {
  Watch watch;
  i64 step = 0;
  for (int i = 0; i < 10; ++i) CHECK(watch.observe(++step, 1, report(1e-5)).empty());
  CHECK(watch.observe(++step, 1, report(9e-4)).empty());
  CHECK(watch.observe(++step, 1, report(2e-3)).size() == 1);
  CHECK(watch.observe(++step, 1, report(1e-5, 20)).size() == 1);  // the gradient's norm
}

TEST_CASE("a level that stays becomes the usual one") {
  Watch watch;
  i64 step = 0, alarms = 0;
  for (int i = 0; i < 30; ++i) alarms += std::ssize(watch.observe(++step, 1, report(1e-3)));
  for (int i = 0; i < 30; ++i) alarms += std::ssize(watch.observe(++step, 1, report(2e-2)));
  CHECK(alarms == 1);
  CHECK(watch.observe(++step, 1, report(0.1)).empty());
  CHECK(watch.observe(++step, 1, report(0.3)).size() == 1);
}

TEST_CASE("what was usual once is no spike where everything has become small") {
  Watch watch;
  i64 step = 0;
  for (int i = 0; i < 20; ++i) CHECK(watch.observe(++step, 1, report(1e-2, 0.5)).empty());
  for (int i = 0; i < 20; ++i) CHECK(watch.observe(++step, 1, report(1e-5, 0.003)).empty());
  Watch resumed;
  resumed.restore(watch.state());
  for (Watch* each : {&watch, &resumed}) {
    CHECK(each->observe(step + 1, 1, report(1e-2, 0.5)).empty());
    CHECK(each->observe(step + 2, 1, report(2e-2, 0.6)).size() == 2);
  }
}

TEST_CASE("too few values ring for nothing but what is not a number") {
  Watch watch;
  for (i64 step = 1; step <= 4; ++step) CHECK(watch.observe(step, 1, report(1e-3)).empty());
  CHECK(watch.observe(5, 1, report(1)).empty());
  CHECK(Watch().observe(1, 1, report(kNaN)).at(0).text() == "step 1: w is not finite");
  const auto norm = Watch().observe(1, 1, report(1e-3, kNaN));
  REQUIRE(norm.size() == 1);
  CHECK(norm[0].tensor.empty());
  CHECK(norm[0].text() == "step 1: the norm of the gradient is not finite");
}

TEST_CASE("a schedule's rise is no spike, and a weight of zeros has no ratio") {
  Watch watch;
  for (i64 step = 1; step <= 100; ++step) {
    const double factor = step * 0.01;
    CHECK(watch.observe(step, factor, report(factor * 1e-3)).empty());
  }
  CHECK(watch.observe(101, 0.01, report(1.1e-4)).empty());  // eleven times at this rate, and little
  CHECK(watch.observe(102, 1, report(1.1e-2)).size() == 1);
  CHECK(watch.observe(102, 0, report(0)).empty());
  StepReport zeros = report(1e-3);
  zeros.tensors[0].weight_rms = 0;
  CHECK(std::isnan(update_ratio(zeros.tensors[0])));
  CHECK(watch.observe(103, 1, zeros).empty());
}

TEST_CASE("the gradient's norm is watched in each step, also across a change of the optimizer") {
  Watch watch;
  StepReport plain;
  for (i64 step = 1; step <= 10; ++step) {
    plain.grad_norm = 0.5;
    CHECK(watch.observe(step, 1, plain).empty());
  }
  plain.grad_norm = 6;
  const auto rung = watch.observe(11, 1, plain);
  REQUIRE(rung.size() == 1);
  CHECK(rung[0].to_json()["of"] == "grad_norm");
  plain.grad_norm = 0.5;
  CHECK(watch.observe(12, 1, plain).empty());
  watch.restart();
  plain.grad_norm = 600;
  CHECK(watch.observe(13, 1, plain).size() == 1);
}

TEST_CASE("a tensor that moves by many times its size rings at once, without a history") {
  Watch watch;
  CHECK(watch.observe(1, 1, report(2)).empty());
  watch.restart();
  const auto rung = watch.observe(2, 1, report(50));
  REQUIRE(rung.size() == 1);
  CHECK(rung[0].text().find("moves by 50 of its size") != std::string::npos);
  CHECK(rung[0].text().find("usual") == std::string::npos);
  StepReport hardly = report(50);  // above zero, as the bias of keys is
  hardly.tensors[0].weight_rms = 1e-4, hardly.tensors[0].update_rms = 50e-4;
  watch.restart();
  CHECK(watch.observe(3, 1, hardly).empty());
}

TEST_CASE("a switch is written as a step or a share, and refused where it cannot be") {
  CHECK(OptimizerSwitch::parse("500:adafactor:lr=0.03").step(1000) == 500);
  CHECK(OptimizerSwitch::parse("500:adafactor:lr=0.03").spec == "adafactor:lr=0.03");
  CHECK(OptimizerSwitch::parse("12.5%:lion").step(1000) == 125);
  CHECK(OptimizerSwitch::parse("29%:lion").step(100) == 29);  // 0.29 · 100 is less
  CHECK(OptimizerSwitch::parse("1%:lion").step(10) == 1);
  for (const char* wrong :
       {"", "adamw", ":adamw", "5", "5:", "5%", "5%:", "0:adamw", "-1:adamw", "1.5:adamw",
        "100%:adamw", "0%:adamw", "5 :adamw", "nan:adamw", "inf%:adamw", "1e99:adamw"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(OptimizerSwitch::parse(wrong), doctest::Contains("write 500:"), Error);
  }
  CHECK_THROWS_WITH_AS(by_step({{.steps = 10, .share = 0, .spec = "lion"}}, 10),
                       doctest::Contains("before the last"), Error);
  CHECK_THROWS_WITH_AS(
      by_step({{.steps = 5, .share = 0, .spec = "lion"}, {.steps = 0, .share = 0.5, .spec = "sgd"}},
              10),
      doctest::Contains("two optimizers after step 5"), Error);
}

TEST_CASE("the learning rate rises again where state that matters started afresh") {
  const std::vector<SlotConversion> sound = {
      {"w", "exp_avg", "exp_avg", SlotConversion::How::copied}};
  const std::vector<SlotConversion> afresh = {
      {"w", "exp_avg", "", SlotConversion::How::afresh, "why", true}};
  CHECK(restart_warmup({}, 100) == 0);
  CHECK(restart_warmup(sound, 100) == 0);
  CHECK(restart_warmup(afresh, 5) == 5);
  CHECK(restart_warmup(afresh, 100) == 10);
  CHECK(restart_warmup(afresh, 1000) == 50);
  CHECK(restart_warmup(afresh, 1'000'000) == 1000);
}
