/// Where the seconds go: the arithmetic, on a clock of our own.
#include "train/time_spent.hpp"

#include <doctest/doctest.h>

#include "autograd/functions.hpp"
#include "train/accelerator.hpp"

using namespace minima;
using Part = TimeSpent::Part;

TEST_CASE("every second belongs to one part, and the parts add up to the whole") {
  double now = 100;
  TimeSpent time([&] { return now; });
  now += 1;  // the loop
  time.enter(Part::steps);
  now += 8;
  {
    const TimeSpent::During alarm(time, Part::logging);  // within the step
    now += 2;
    {
      const TimeSpent::During saved(time, Part::checkpoints);  // within the logging
      now += 4;
    }
    now += 0.5;
  }
  now += 16;  // the step goes on
  time.enter(Part::loop);
  now += 0.25;
  {
    const TimeSpent::During evaluated(time, Part::evaluation);
    now += 32;
  }
  CHECK(time.seconds(Part::loop) == 1.25);
  CHECK(time.seconds(Part::steps) == 24);
  CHECK(time.seconds(Part::logging) == 2.5);
  CHECK(time.seconds(Part::checkpoints) == 4);
  CHECK(time.seconds(Part::evaluation) == 32);
  CHECK(time.total() == now - 100);
  const Json shares = time.to_json();
  CHECK(shares["seconds"] == 63.75);
  double sum = 0;
  for (const char* part : {"steps", "evaluation", "logging", "checkpoints", "loop"})
    sum += shares[part].get<double>();
  CHECK(sum == doctest::Approx(1));
  CHECK(shares["steps"] == 24 / 63.75);

  time.move(2, Part::steps, Part::logging);  // told afterwards
  CHECK(time.seconds(Part::steps) == 22);
  CHECK(time.seconds(Part::logging) == 4.5);
  CHECK(time.total() == now - 100);

  time.restart();
  CHECK(time.total() == 0);
  now += 3;
  CHECK(time.seconds(Part::loop) == 3);  // up to now
  time.enter(Part::steps);
  CHECK(time.seconds(Part::loop) == 3);
  CHECK(time.seconds(Part::steps) == 0);
}

TEST_CASE("what watching takes within a step is logging, and so is the alarm that it rings") {
  double now = 0;  // stands still but where it is moved
  Parameter weight{.name = "w", .value = Tensor::full({1000}, 1), .gradient = {}};
  Optimizer optimizer = make_optimizer("sgd:lr=0.1", std::vector<Parameter*>{&weight});
  Accelerator accelerator({.watch = 1, .non_finite = NonFinite::skip});
  accelerator.prepare(
      {&weight}, optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, 2);
  accelerator.time() = TimeSpent([&] { return now; });
  accelerator.on_alarm = [&](const Alarm&) { now += 4; };
  const auto step = [&](double factor) {
    accelerator.next();
    now += 16;
    accelerator.backward(sum(mul(Variable(weight), Variable(Tensor::full({1000}, factor)))));
    accelerator.step();
  };
  step(1);
  const double watching = 16 - accelerator.time().seconds(Part::steps);  // by the system's clock
  CHECK(watching > 0);
  CHECK(accelerator.time().seconds(Part::logging) == doctest::Approx(watching));
  step(std::numeric_limits<double>::infinity());
  CHECK(accelerator.time().seconds(Part::steps) == doctest::Approx(32 - watching));
  CHECK(accelerator.time().seconds(Part::logging) == doctest::Approx(4 + watching));
}
