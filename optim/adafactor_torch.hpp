/// Adafactor (Shazeer, Stern 2018, arXiv:1804.04235) as in torch.optim.Adafactor, which is not the
/// one of Transformers (optim/adafactor.hpp): the step size is always relative to the weights, ε₁
/// is a floor and not a summand, and weight decay takes lr itself.
///
///   α = max(ε₂, RMS(p)) · min(lr, 1/√t)           p before its decay
///   p ← (1 − lr·λ) p
///   w = t^beta2_decay                             1 at the first step
///   R ← R + w (mean of g² over a row − R)         C likewise over a column
///   v = max(R C / max(mean(R), ε₁), ε₁²)          a vector: v ← v + w (g² − v), and the same floor
///   u = g/√v                                      p ← p − α u / max(1, RMS(u)/d)
///
/// Where the RMS of the gradient is below √ε₁ (3.4e-4 by default) the floor acts, and v is no longer
/// a second moment.
#pragma once

#include "optim/rule.hpp"

namespace minima {

struct AdafactorTorch {
  static constexpr std::string_view name = "adafactor-torch";

  struct Options {
    double lr = 1e-2, beta2_decay = -0.8;
    std::optional<double> eps1;  ///< none: the machine epsilon of the weight's type
    double eps2 = 1e-3, d = 1, weight_decay = 0;
    bool maximize = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta2_decay", &Options::beta2_decay, nonpositive},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"d", &Options::d, at_least_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"maximize", &Options::maximize}};
    }
  };

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter);
  static void step(const Options& o, const StepView& view);
};

}  // namespace minima
