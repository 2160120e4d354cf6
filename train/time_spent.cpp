#include "train/time_spent.hpp"

#include <numeric>

#include "core/stopwatch.hpp"

namespace minima {
namespace {

/// By Part.
constexpr std::array kNames{"loop", "steps", "evaluation", "logging", "checkpoints"};

}  // namespace

TimeSpent::TimeSpent(std::function<double()> now)
    : now_(now ? std::move(now) : [clock = Stopwatch()] { return clock.seconds(); }) {
  restart();
}

void TimeSpent::restart() {
  seconds_ = earlier_ = {};
  part_ = Part::loop;
  since_ = now_();
}

void TimeSpent::resume(const Json& earlier) {
  const double all = earlier.value("seconds", 0.0);
  earlier_ = {all};
  for (std::size_t i = 1; i < kNames.size(); ++i) {
    earlier_[i] = all * earlier.value(kNames[i], 0.0);
    earlier_[0] -= earlier_[i];
  }
}

double TimeSpent::total() const {
  return std::accumulate(seconds_.begin(), seconds_.end(), now_() - since_);
}

double TimeSpent::in_all() const {
  return std::accumulate(earlier_.begin(), earlier_.end(), total());
}

Json TimeSpent::to_json() const {
  const double all = in_all() > 0 ? in_all() : 1;
  Json json = {{"seconds", in_all()}};
  for (const Part part :
       {Part::steps, Part::evaluation, Part::logging, Part::checkpoints, Part::loop})
    json[kNames[index(part)]] = (earlier_[index(part)] + seconds(part)) / all;
  return json;
}

}  // namespace minima
