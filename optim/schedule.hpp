/// Learning-rate schedules: a factor on every group's learning rate, for each optimizer step.
///
///     Schedule schedule{.kind = "linear", .warmup = 100, .total = 1000};
///     optimizer.step({.lr_factor = schedule.factor(k)});   // k: optimizer steps already taken
///
/// All begin with a linear warm-up: k < W gives k/W, so that the very first step has factor 0 and
/// fills the moments without moving a weight, as in `transformers`. After it, with progress
/// f = (k − W)/max(1, N − W), a schedule is one function in schedule.cpp:
///
///     constant          1
///     linear            max(0, 1 − f)
///     cosine            max(0, (1 + cos 2π·cycles·f)/2)                 cycles 0.5
///     cosine_restarts   (1 + cos π·frac(cycles·f))/2, 0 from f = 1 on   cycles 1
///     polynomial        (1 − end)(1 − f)^power + end, end for k > N     power 1
///     inverse_sqrt      1/√((k − W + T)/T)                              T = timescale; 0: W, or else 10,000
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace minima {

struct Schedule {
  std::string kind = "linear";
  i64 warmup = 0;  ///< W, in optimizer steps
  i64 total = 0;   ///< N, in optimizer steps
  std::optional<double> cycles = {};
  double minimum = 0;  ///< cosine ends at this factor instead of 0
  double power = 1;
  double end = 0;  ///< the factor at which polynomial ends
  i64 timescale = 0;

  /// The factor for step k, counted from 0. Throws Error for an unknown kind, naming the nearest.
  double factor(i64 k) const;
};

std::vector<std::string> schedule_names();

}  // namespace minima
