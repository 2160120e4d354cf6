#include "optim/plateau.hpp"

#include <algorithm>
#include <array>

#include "core/json.hpp"

namespace minima {
namespace {

constexpr std::array<std::string_view, 2> kModes{"min", "max"}, kThresholds{"rel", "abs"};

}  // namespace

std::span<const std::string_view> choices(ReduceOnPlateau::Mode) { return kModes; }
std::span<const std::string_view> choices(ReduceOnPlateau::Threshold) { return kThresholds; }

ReduceOnPlateau::ReduceOnPlateau(const Options& options) : options_(options) {
  check_options(options, "plateau");
}

bool ReduceOnPlateau::improved(double m) const {
  if (!best_) return !std::isnan(m);
  const double direction = options_.mode == Mode::min ? -1 : 1;
  const double least = options_.threshold_mode == Threshold::rel
                           ? *best_ * (1 + direction * options_.threshold)
                           : *best_ + direction * options_.threshold;
  return direction * m > direction * least;
}

void ReduceOnPlateau::step(double metric) {
  if (improved(metric)) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooldown_ > 0) {
    --cooldown_;
    bad_ = 0;
  }
  if (bad_ <= options_.patience) return;
  const double reduced = std::max(factor_ * options_.factor, options_.minimum);
  if (factor_ - reduced > options_.eps) factor_ = reduced;
  cooldown_ = options_.cooldown;
  bad_ = 0;
}

Json ReduceOnPlateau::state() const {
  return {{"best", best_ ? Json(*best_) : Json(nullptr)},
          {"bad", bad_},
          {"cooldown", cooldown_},
          {"factor", factor_}};
}

void ReduceOnPlateau::restore(const Json& state) {
  const auto count = [&](const char* key) {
    return state.contains(key) && state[key].is_number_integer() && state[key].get<i64>() >= 0;
  };
  check(state.is_object() && state.size() == 4 && count("bad") && count("cooldown") &&
            state.contains("best") && (state["best"].is_number() || state["best"].is_null()) &&
            state.contains("factor") && state["factor"].is_number() &&
            Range{0, 1}.holds(state["factor"].get<double>()),
        "plateau: '{}' is not its state; that has best (a number or null), bad and cooldown "
        "(counts) and factor (0 to 1)",
        state.dump());
  best_ = state["best"].is_null() ? std::nullopt : std::optional(state["best"].get<double>());
  bad_ = state["bad"].get<i64>();
  cooldown_ = state["cooldown"].get<i64>();
  factor_ = state["factor"].get<double>();
}

}  // namespace minima
