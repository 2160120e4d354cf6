/// Initial values of parameters.
#pragma once

#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace minima::nn {

/// A distribution for initial values: normal(mean, deviation); deviation 0 is a constant.
struct Init {
  double mean = 0, deviation = 0;

  static Init zeros() { return {}; }
  static Init ones() { return {1, 0}; }
  static Init normal(double deviation) { return {0, deviation}; }

  void fill(Tensor& value, RandomSequence random) const {
    if (deviation == 0) return value.fill(mean);
    for (float& x : value.span<float>()) x = static_cast<float>(mean + deviation * random.normal());
  }
};

}  // namespace minima::nn
