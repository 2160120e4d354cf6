/// Operands of products: f32 and f64 everywhere; on a GPU also bf16 and f16, with sums in f32.
#pragma once

#include "core/on_device.hpp"
#include "core/tensor.hpp"

namespace minima::ops {

/// Calls f(device, zero of the operands' type) where x lies. Throws Error for a type that is not multiplied there.
template <class F>
void visit_operands(const char* op, const Tensor& x, const F& f) {
  on_device(x.device(), [&](auto device) {
    if constexpr (AnyGpu<decltype(device)>) {
      if (x.dtype() == DType::bf16) return f(device, bf16{});
      if (x.dtype() == DType::f16) return f(device, f16{});
    }
    visit_real(op, x.dtype(), [&](auto zero) { f(device, zero); });
  });
}

/// Room for sums of an operand's products.
inline Tensor product_of(const Tensor& operand, const Shape& shape) {
  return Tensor::empty(shape, widened(operand.dtype()), operand.device());
}

}  // namespace minima::ops
