/// What the operands of an op must have in common.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

/// Throws Error, naming the op and which of its operands (at most three) was never given a value.
template <class... Tensors>
void check_given(const char* op, const Tensors&... operands) {
  constexpr const char* kPlaces[] = {"first", "second", "third"};
  int place = 0;
  for (const Tensor* each : std::initializer_list<const Tensor*>{&operands...})
    check(each->defined(), "{}: its {} operand is undefined; it was never given a value", op,
          kPlaces[place++]);
}

/// Throws Error, naming the op, unless all that are defined are on the device of the first.
template <class... Tensors>
void check_together(const char* op, const Tensor& first, const Tensors&... others) {
  for (const Tensor* other : std::initializer_list<const Tensor*>{&others...})
    check(!other->defined() || other->device() == first.device(),
          "{}: operands are on {} and {}; they must be together", op, to_string(first.device()),
          to_string(other->device()));
}

/// Throws Error, naming the op, unless all operands are of the type of the first.
inline void check_one_type(const char* op, std::initializer_list<DType> types) {
  const DType first = *types.begin();
  for (const DType type : types)
    check(type == first, "{}: one operand is {}, the other {}; convert one of them", op,
          dtype_name(first), dtype_name(type));
}

/// Throws Error, naming the op, unless they are whole numbers, of rows or of texts.
inline void check_i64(const char* op, const char* what, const Tensor& numbers) {
  check(numbers.dtype() == DType::i64, "{}: {} are {}; they must be i64", op, what,
        dtype_name(numbers.dtype()));
}

/// Throws Error, naming the op, unless the gradient of a result has its shape.
inline void check_gradient(const char* op, const Tensor& dy, const Shape& result) {
  check(dy.shape() == result, "{}: the gradient is {}, the result {}; they must have one shape", op,
        dy.shape(), result);
}

}  // namespace minima::ops
