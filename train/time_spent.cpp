#include "train/time_spent.hpp"

#include <numeric>

#include "core/stopwatch.hpp"

namespace minima {

TimeSpent::TimeSpent(std::function<double()> now)
    : now_(now ? std::move(now) : [clock = Stopwatch()] { return clock.seconds(); }) {
  restart();
}

void TimeSpent::restart() {
  seconds_ = {};
  part_ = Part::loop;
  since_ = now_();
}

double TimeSpent::total() const {
  return std::accumulate(seconds_.begin(), seconds_.end(), now_() - since_);
}

Json TimeSpent::to_json() const {
  const double all = total() > 0 ? total() : 1;
  return {{"seconds", total()},
          {"steps", seconds(Part::steps) / all},
          {"evaluation", seconds(Part::evaluation) / all},
          {"logging", seconds(Part::logging) / all},
          {"checkpoints", seconds(Part::checkpoints) / all},
          {"loop", seconds(Part::loop) / all}};
}

}  // namespace minima
