/// Where an array stops being finite.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

/// The first element that is infinite or not a number; −1 where all are finite (integers always). One read of the
/// array, on all threads.
i64 first_non_finite(const Tensor& x);

}  // namespace minima::ops
