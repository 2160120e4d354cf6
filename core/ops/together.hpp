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

}  // namespace minima::ops
