#include "optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"
#include "optim/options.hpp"

namespace minima {
namespace {

constexpr double pi = std::numbers::pi;

/// A schedule after its warm-up, for k ≥ W and the progress f.
using Curve = double (*)(const Schedule&, i64 k, double f);

double constant(const Schedule&, i64, double) { return 1; }
double linear(const Schedule&, i64, double f) { return std::max(0.0, 1 - f); }
double cosine(const Schedule& s, i64, double f) {
  const double wave = std::max(0.0, (1 + std::cos(2 * pi * s.cycles.value_or(0.5) * f)) / 2);
  return wave * (1 - s.minimum) + s.minimum;
}
double cosine_restarts(const Schedule& s, i64, double f) {
  return f >= 1 ? 0 : (1 + std::cos(pi * std::fmod(s.cycles.value_or(1) * f, 1.0))) / 2;
}
double polynomial(const Schedule& s, i64 k, double f) {
  return k > s.total ? s.end : (1 - s.end) * std::pow(1 - f, s.power) + s.end;
}
double inverse_sqrt(const Schedule& s, i64 k, double) {
  const i64 own = s.timescale ? s.timescale : s.warmup ? s.warmup : 10000;
  return 1 / std::sqrt(static_cast<double>(k - s.warmup + own) / static_cast<double>(own));
}

constexpr std::pair<const char*, Curve> kCurves[] = {
    {"constant", constant},     {"linear", linear},
    {"cosine", cosine},         {"cosine_restarts", cosine_restarts},
    {"polynomial", polynomial}, {"inverse_sqrt", inverse_sqrt}};

}  // namespace

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const auto& [name, curve] : kCurves) names.emplace_back(name);
  return names;
}

double Schedule::factor(i64 k) const {
  for (const auto& [name, curve] : kCurves) {
    if (kind != name) continue;
    if (k < warmup) return static_cast<double>(k) / static_cast<double>(warmup);
    return curve(
        *this, k,
        static_cast<double>(k - warmup) / static_cast<double>(std::max<i64>(1, total - warmup)));
  }
  fail("no schedule named '{}'; did you mean '{}'? There are: {}", kind,
       nearest(kind, schedule_names()), fmt::join(schedule_names(), ", "));
}

}  // namespace minima
