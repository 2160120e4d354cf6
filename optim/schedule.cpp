#include "optim/schedule.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.hpp"
#include "core/files/json.hpp"
#include "core/text/nearest.hpp"

namespace minima {
namespace {

constexpr double pi = std::numbers::pi;
constexpr std::array<std::string_view, 2> kAnneals{"cos", "linear"}, kModes{"min", "max"},
    kThresholds{"rel", "abs"};

/// N − W.
i64 steps_after_warmup(const Schedule& s) { return std::max<i64>(1, s.total - s.warmup); }

/// From 1 at x = 0 to 0 at x = 1.
double half_wave(double x) { return (1 + std::cos(pi * x)) / 2; }

double constant(const Schedule&, i64, double) { return 1; }
double linear(const Schedule& s, i64 j, double f) { return j < s.total - s.warmup ? 1 - f : 0; }
double cosine(const Schedule& s, i64, double f) {
  return half_wave(2 * s.cycles.value_or(0.5) * f) * (1 - s.minimum) + s.minimum;
}
double cosine_restarts(const Schedule& s, i64, double f) {
  return f >= 1 ? 0 : half_wave(std::fmod(s.cycles.value_or(1) * f, 1.0));
}
double polynomial(const Schedule& s, i64 j, double f) {
  return j > s.total - s.warmup ? s.end : (1 - s.end) * std::pow(1 - f, s.power) + s.end;
}
double inverse_sqrt(const Schedule& s, i64 j, double) {
  const i64 own = s.timescale ? s.timescale : s.warmup ? s.warmup : 10000;
  return 1 / std::sqrt(static_cast<double>(j + own) / static_cast<double>(own));
}
double step(const Schedule& s, i64 j, double) {
  const i64 size = s.step_size.value_or(std::max<i64>(1, steps_after_warmup(s) / 3));
  return std::pow(s.gamma, static_cast<double>(j / size));
}
double warm_restarts(const Schedule& s, i64 j, double) {
  double period = static_cast<double>(s.t_0.value_or(steps_after_warmup(s)));
  double c = static_cast<double>(j);
  if (s.t_mult == 1) c = std::fmod(c, period);
  for (; c >= period; period *= static_cast<double>(s.t_mult)) c -= period;
  return half_wave(c / period) * (1 - s.minimum) + s.minimum;
}
double one_cycle(const Schedule& s, i64 k, double) {
  const double n = static_cast<double>(s.total), top = s.pct_start * n - 1;
  const double low = 1 / s.div_factor, last = low / s.final_div_factor;
  // Each phase ends at a step, a real number, with a factor; without three_phase the second is empty.
  const std::pair<double, double> ends[] = {
      {top, 1}, s.three_phase ? std::pair{2 * top, low} : std::pair{top, 1.0}, {n - 1, last}};
  double from = 0, value = low;
  for (const auto& [to, next] : ends) {
    const double x = (static_cast<double>(k) - from) / (to - from);
    if (from < to && x < 1)
      return next + (value - next) * (s.anneal == Schedule::Anneal::cos ? half_wave(x) : 1 - x);
    from = to;
    value = next;
  }
  return last;
}

/// A schedule after its warm-up: its curve over j and f, and its options.
struct Kind {
  std::string name;
  double (*curve)(const Schedule&, i64 j, double f);
  std::vector<std::string> options = {};
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> list{
      {"constant", constant},
      {"linear", linear},
      {"cosine", cosine, {"cycles", "minimum"}},
      {"cosine_restarts", cosine_restarts, {"cycles"}},
      {"polynomial", polynomial, {"power", "end"}},
      {"inverse_sqrt", inverse_sqrt, {"timescale"}},
      {"step", step, {"step_size", "gamma"}},
      {"warm_restarts", warm_restarts, {"T_0", "T_mult", "minimum"}},
      {"one_cycle",
       one_cycle,
       {"pct_start", "div_factor", "final_div_factor", "anneal", "three_phase"}},
      {"plateau", constant, option_names(option_values(ReduceOnPlateau::Options{}))}};
  return list;
}

const Kind& find_kind(const std::string& name) {
  const auto found = std::ranges::find(kinds(), name, &Kind::name);
  if (found != kinds().end()) return *found;
  const std::vector<std::string> names = schedule_names();
  fail("no schedule named '{}'{} There are: {}", name, did_you_mean(name, names),
       fmt::join(names, ", "));
}

}  // namespace

std::span<const std::string_view> choices(Schedule::Anneal) { return kAnneals; }

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) names.push_back(kind.name);
  return names;
}

std::vector<OptionHelp> schedule_help(const std::string& name) {
  const Kind& kind = find_kind(name);
  std::vector<OptionHelp> help =
      name == "plateau" ? option_help(ReduceOnPlateau::Options{}) : option_help(Schedule{});
  std::erase_if(help,
                [&](const OptionHelp& one) { return !std::ranges::count(kind.options, one.name); });
  return help;
}

Schedule parse_schedule(const std::string& spec) {
  const auto [name, options] = parse_spec(spec);
  const std::vector<std::string>& known = find_kind(name).options;
  Schedule schedule{.kind = name};
  for (const auto& [option, text] : options) {
    check(!known.empty(), "{}: no option named '{}'; this schedule has none", name, option);
    check(std::ranges::count(known, option) == 1, "{}: no option named '{}'{} It has: {}", name,
          option, did_you_mean(option, known), fmt::join(known, ", "));
    if (name == "plateau")
      set_option(schedule.plateau, name, option, text);
    else
      set_option(schedule, name, option, text);
  }
  schedule.validate();
  return schedule;
}

void Schedule::validate() const {
  find_kind(kind);
  check_options(*this, kind);
  check(warmup >= 0 && total >= 0, "{}: warm-up of {} steps, {} in all; both must be at least 0",
        kind, warmup, total);
  check(takes_warmup() || warmup == 0,
        "one_cycle: a warm-up of {} steps; it rises by itself: give pct_start instead", warmup);
  check(!three_phase || pct_start <= 0.5,
        "one_cycle: three_phase with pct_start {}; it falls as long as it rises, so pct_start must "
        "be at most 0.5",
        pct_start);
}

double Schedule::factor(i64 k) const {
  validate();
  check(k >= 0, "{}: there is no step {}", kind, k);
  if (k < warmup) return static_cast<double>(k) / static_cast<double>(warmup);
  const i64 j = k - warmup;
  return find_kind(kind).curve(
      *this, j, static_cast<double>(j) / static_cast<double>(steps_after_warmup(*this)));
}

std::span<const std::string_view> choices(ReduceOnPlateau::Mode) { return kModes; }
std::span<const std::string_view> choices(ReduceOnPlateau::Threshold) { return kThresholds; }

ReduceOnPlateau::ReduceOnPlateau(const Options& options) : options_(options) {
  check_options(options, "plateau");
}

bool ReduceOnPlateau::improved(double m) const {
  const double direction = options_.mode == Mode::min ? -1 : 1;
  if (!best_) return direction * m > -std::numeric_limits<double>::infinity();
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
