/// CAME: confidence-guided Adafactor (Luo, Ren, Zheng, Jiang, Jiang, You 2023, arXiv:2307.02047,
/// Algorithm 2), as in came-pytorch.
///
///   R, C ← means of (g² + ε₁) over rows and columns, averaged with β₂; as in Adafactor
///   u = g · √(mean(R)/R) · √(1/C)                 u ← u / max(1, RMS(u)/d)
///   m ← β₁ m + (1 − β₁) u
///   U, S ← means of (u − m)² + ε₂ over rows and columns, averaged with β₃: the instability
///   p ← (1 − lr·λ) p − lr · m · √(mean(U)/U) · √(1/S)
///
/// A vector keeps its whole second moment and moves by m itself. Nothing is corrected for bias, and
/// the step is not clipped: S starts at 1 − β₃ of its final size, so that at the first step a matrix
/// moves by an RMS of about 11 lr. A warm-up, or a smaller lr than AdamW's, is needed.
///
/// RMS(p) is stored, as in the public implementation, and never used. Four reads of the gradient:
/// sums, RMS(u), instability, update; m is computed twice and stored once.
#pragma once

#include "optim/rule.hpp"

namespace minima {

struct Came {
  static constexpr std::string_view name = "came";

  struct Options {
    double lr = 2e-4, beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, eps1 = 1e-30, eps2 = 1e-16,
           clip_threshold = 1, weight_decay = 0;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"beta3", &Options::beta3, below_one},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"clip_threshold", &Options::clip_threshold, positive},
                        Field{"weight_decay", &Options::weight_decay, nonnegative}};
    }
  };

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter);
  static void step(const Options& o, const StepView& view);
};

}  // namespace minima
