/// What golden cases of optim are read from, the reference set's manifest (`cases.json`), and compared by.
#pragma once

#include <cmath>
#include <set>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "optim/clip.hpp"
#include "optim/schedule.hpp"
#include "tests/support.hpp"

namespace minima::test {

inline const Json& manifest() {
  static const Json json = [] {
    const auto path = reference("optim/cases.json");
    return path.empty() ? Json() : read_json(path);
  }();
  return json;
}

/// A part of the manifest and its file; the path is empty where this set lacks either, which is told.
inline std::pair<Json, std::filesystem::path> recorded(const std::string& part) {
  if (!manifest().contains(part)) {
    MESSAGE("skipped: no ", part, " in the reference set's optim/cases.json");
    return {};
  }
  const Json& found = manifest()[part];
  return {found, listed_reference("optim/" + found["file"].get<std::string>())};
}

/// As the command line has it.
inline std::string spelled(const Json& value) {
  return value.is_null() ? "none" : value.is_string() ? value.get<std::string>() : value.dump();
}

/// A number of steps, which has no fractions here.
inline i64 steps_of(const Json& steps) {
  const double n = steps;
  check(n == std::floor(n), "{} steps: a schedule here counts whole steps", n);
  return static_cast<i64>(n);
}

/// The schedule of this kind with a library's arguments; those in units of lr become shares of `base`.
inline Schedule schedule_of(const std::string& kind, Json args, double base) {
  static const std::map<std::string, std::string> renamed{
      {"num_cycles", "cycles"}, {"lr_end", "end"},      {"min_lr_rate", "minimum"},
      {"min_lr", "minimum"},    {"eta_min", "minimum"}, {"anneal_strategy", "anneal"}};
  static const std::set<std::string> in_lr{"lr_end", "min_lr", "eta_min", "eps"};
  static const std::set<std::string> no_options{
      "kind",          "num_warmup_steps", "num_training_steps", "total_steps",
      "T_max",         "epochs",           "steps_per_epoch",    "max_lr",
      "cycle_momentum"};
  if (kind == "polynomial" && !args.contains("lr_end")) args["lr_end"] = 1e-7;
  if (kind == "plateau" && !args.contains("eps")) args["eps"] = 1e-8;
  std::string spec = kind;
  for (const auto& [arg, value] : args.items()) {
    if (no_options.contains(arg) || value.is_null()) continue;
    const auto other = renamed.find(arg);
    spec += fmt::format(
        ":{}={}", other == renamed.end() ? arg : other->second,
        in_lr.contains(arg) ? fmt::format("{}", value.get<double>() / base) : spelled(value));
  }
  Schedule schedule = parse_schedule(spec);
  schedule.warmup = steps_of(args.value("num_warmup_steps", Json(0)));
  if (args.contains("epochs"))
    schedule.total = steps_of(args["epochs"]) * steps_of(args["steps_per_epoch"]);
  for (const char* total : {"num_training_steps", "total_steps", "T_max"})
    if (args.contains(total) && !args[total].is_null()) schedule.total = steps_of(args[total]);
  return schedule;
}

inline Norm norm_of(const Json& type) {
  check(type == "inf" || type == 1.0 || type == 2.0,
        "the norm of order {}: there are 1, 2 and inf here", type.dump());
  return type == "inf" ? Norm::maximum : type == 1.0 ? Norm::l1 : Norm::l2;
}

inline void check_norm(double actual, double expected) {
  CAPTURE(actual);
  CAPTURE(expected);
  CHECK((actual == expected || (std::isnan(actual) && std::isnan(expected)) ||
         actual == doctest::Approx(expected).epsilon(1e-6)));
}

/// Counts entries outside the tolerance; those that are outside even `outlier` count double.
struct Comparison {
  double relative = 0, absolute = 0, of_max = 0, outlier_fraction = 0, outlier = 0;

  void check(const std::string& what, const Tensor& actual, const Tensor& expected) const {
    CAPTURE(what);
    REQUIRE(actual.shape() == expected.shape());
    const Tensor a = actual.to(DType::f64), e = expected.to(DType::f64);
    double largest = 0;
    for (double x : e.span<double>())
      if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
    i64 outside = 0, at = 0, impossible = 0;
    double worst = 0;
    for (i64 i = 0; i < a.size(); ++i) {
      const double x = a.data<double>()[i], y = e.data<double>()[i];
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double error = std::abs(x - y);
      const double excess = error / (relative * std::abs(y) + absolute + of_max * largest);
      if (!(excess <= 1)) ++outside;
      if (!(excess <= 1) && !(error <= outlier)) ++impossible;
      if (!(excess <= worst)) worst = excess, at = i;
    }
    CAPTURE(at);
    CAPTURE(worst);
    CHECK(static_cast<double>(outside) <= outlier_fraction * static_cast<double>(a.size()));
    if (outlier_fraction > 0) CHECK(impossible == 0);
  }
};

}  // namespace minima::test
