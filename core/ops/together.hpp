/// Operands that must lie on one device.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

/// Throws Error, naming the op, unless all that are defined are on the device of the first.
template <class... Tensors>
void check_together(const char* op, const Tensor& first, const Tensors&... others) {
  for (const Tensor* other : std::initializer_list<const Tensor*>{&others...})
    check(!other->defined() || other->device() == first.device(),
          "{}: operands are on {} and {}; they must be together", op, to_string(first.device()),
          to_string(other->device()));
}

/// Throws Error, naming the op, unless the gradient of a result has its shape.
inline void check_gradient(const char* op, const Tensor& dy, const Shape& result) {
  check(dy.shape() == result, "{}: the gradient is {}, the result {}; they must have one shape", op,
        dy.shape(), result);
}

}  // namespace minima::ops
