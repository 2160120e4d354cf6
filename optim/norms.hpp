/// What a norm adds up for one entry, how, and what is made of the sum: the same on every device.
#pragma once

#include <cmath>

#include "core/types.hpp"

namespace minima {

enum class Norm { l1, l2, maximum };

/// min(1, max_norm/(norm + 10⁻⁶))
MINIMA_HD double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor < 1 || factor != factor ? factor : 1;
}

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

}  // namespace minima
