/// Numbers that tests of the device compute on.
#pragma once

#include <cmath>

#include "tests/support.hpp"

namespace minima::test {

inline double root_mean_square(const Tensor& x) {
  const Tensor values = x.to(DType::f64);
  double squares = 0;
  for (double value : values.span<double>()) squares += value * value;
  return values.size() > 0 ? std::sqrt(squares / static_cast<double>(values.size())) : 0;
}

}  // namespace minima::test
