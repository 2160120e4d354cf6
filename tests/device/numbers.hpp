/// Numbers that tests of the device compute on.
#pragma once

#include <cmath>

#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace minima::test {

inline Tensor normal(const Shape& shape, const char* name) {
  Tensor x = Tensor::empty(shape, DType::f64);
  RandomSequence random(3, name);
  for (double& value : x.span<double>()) value = random.normal();
  return x;
}

inline double root_mean_square(const Tensor& x) {
  const Tensor values = x.to(DType::f64);
  double squares = 0;
  for (double value : values.span<double>()) squares += value * value;
  return values.size() > 0 ? std::sqrt(squares / static_cast<double>(values.size())) : 0;
}

}  // namespace minima::test
