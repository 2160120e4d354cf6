/// Clipping by the global norm (Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063), as in
/// torch.nn.utils.clip_grad_norm_.
///
///   norm = ‖all gradients, as one vector‖         every g ← g · min(1, max_norm/(norm + 10⁻⁶))
///
/// The optimizer folds the factor into its step: gradients are read once more for the norm and
/// never written. An infinite norm gives the factor 0.
#pragma once

#include <cmath>
#include <span>

#include "core/parameter.hpp"

namespace minima {

enum class Norm { l1, l2, maximum };

/// min(1, max_norm/(norm + 10⁻⁶))
MINIMA_HD double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor < 1 || factor != factor ? factor : 1;
}

/// What a norm adds up for one entry, how, and what is made of the sum: the same on every device.
struct AbsoluteTerms {
  MINIMA_HD double term(double x) const { return x < 0 ? -x : x; }
  MINIMA_HD double operator()(double a, double b) const { return a + b; }
  MINIMA_HD double finish(double sum) const { return sum; }
};
struct SquareTerms {
  MINIMA_HD double term(double x) const { return x * x; }
  MINIMA_HD double operator()(double a, double b) const { return a + b; }
  MINIMA_HD double finish(double sum) const {
    using std::sqrt;
    return sqrt(sum);
  }
};
/// NaN stays, whichever side it comes from.
struct LargestTerm {
  MINIMA_HD double term(double x) const { return x < 0 ? -x : x; }
  MINIMA_HD double operator()(double a, double b) const { return b > a || b != b ? b : a; }
  MINIMA_HD double finish(double largest) const { return largest; }
};

/// The norm over all gradients that there are, each entry times `scale`; the same bits for any
/// number of threads. 0 when there are none; NaN when an entry is. Waits for a GPU.
double global_norm(std::span<Parameter* const> parameters, Norm norm = Norm::l2, double scale = 1);

}  // namespace minima
