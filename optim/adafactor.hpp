/// Adafactor (Shazeer, Stern 2018, arXiv:1804.04235, Algorithms 4 and 5), as in
/// transformers.Adafactor: a second moment from the means of rows and columns, and a step size
/// relative to the weights.
///
///   α = s · max(ε₂, RMS(p))                       s = lr, or the relative step min(10⁻², 1/√t)
///                                                 (10⁻⁶ t in place of 10⁻² with warmup_init)
///   β₂ = 1 − t^decay_rate                         0 at the first step
///   R ← β₂ R + (1 − β₂) mean of (g² + ε₁) over a row        one value for each row
///   C ← β₂ C + (1 − β₂) mean of (g² + ε₁) over a column     one value for each column
///   u = g · √(mean(R)/R) · √(1/C)                 a vector keeps its whole second moment v: u = g/√v
///   u ← α u / max(1, RMS(u)/d)                    d clip_threshold
///   m ← β₁ m + (1 − β₁) u,  u = m                 only with beta1; no bias correction
///   p ← p − λ α p − u
///
/// With relative_step, the default, it makes its own step size: no lr may be given, and a schedule
/// has no effect. Three reads of the gradient: sums, RMS(u), update.
#pragma once

#include <optional>

#include "optim/rule.hpp"

namespace minima {

struct Adafactor {
  static constexpr std::string_view name = "adafactor";

  struct Options {
    std::optional<double> lr;
    double eps1 = 1e-30, eps2 = 1e-3, clip_threshold = 1, decay_rate = -0.8;
    std::optional<double> beta1;
    double weight_decay = 0;
    bool scale_parameter = true, relative_step = true, warmup_init = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"clip_threshold", &Options::clip_threshold, positive},
                        Field{"decay_rate", &Options::decay_rate, nonpositive},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"scale_parameter", &Options::scale_parameter},
                        Field{"relative_step", &Options::relative_step},
                        Field{"warmup_init", &Options::warmup_init}};
    }
  };

  static void validate(const Options& o) {
    check(!(o.lr && o.relative_step),
          "adafactor: lr={} together with relative_step, which makes its own step size; leave lr "
          "out, "
          "or add relative_step=false",
          o.lr.value_or(0));
    check(o.lr || o.relative_step,
          "adafactor: relative_step=false without lr; give lr, or leave relative_step on");
    check(!o.warmup_init || o.relative_step,
          "adafactor: warmup_init without relative_step; leave warmup_init out, or set "
          "relative_step=true and no lr");
  }

  static bool takes_schedule(const Options& o) { return !o.relative_step; }

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter);

  static void step(const Options& o, const StepView& view);
};

}  // namespace minima
