/// Where the seconds go: the arithmetic, on a clock of our own.
#include "train/time_spent.hpp"

#include <doctest/doctest.h>

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

  time.restart();
  CHECK(time.total() == 0);
  now += 3;
  CHECK(time.seconds(Part::loop) == 3);  // up to now
  time.enter(Part::steps);
  CHECK(time.seconds(Part::loop) == 3);
  CHECK(time.seconds(Part::steps) == 0);
}
