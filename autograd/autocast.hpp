/// Mixed precision: products of bf16 or f16 numbers, around them f32.   Micikevicius et al. 2018, arXiv:1710.03740.
///
///     {
///       const Autocast narrow(DType::bf16);
///       loss = cross_entropy(model(batch), labels);
///     }
///     loss.backward();      // in the precision of forward; gradients of parameters are f32, like the parameters
///
/// The functions of autograd/layers.hpp round the operands of their products, and the results where they round them anyway,
/// when they store them: two bytes a number, in forward and in backward.
///
///     in two bytes    weights, from forward to backward (what is trained stays f32) · inputs and results of products · q, k, v
///                     and their gradients · the hidden layer, its gelu, their gradients · the sum before a layer norm · that
///                     norm's result once more, for the products that follow
///     in f32          sums of products · biases, statistics, losses · the residual stream (results of layer norms) and its
///                     gradient · gradients of parameters · linear_cross_entropy and all of autograd/functions.hpp
///
/// Operands of f64 stay so, as do their products.
///
/// What two such numbers multiply to is exact in f32, and sums are kept in f32: on a GPU by its units for such numbers, in
/// an order of theirs; on the CPU by f32 products of the rounded numbers, which saves memory, not time. Attention's weights
/// are operands of products too, and on a GPU are rounded as well (core/ops/attention.hpp).
#pragma once

#include "core/dtype.hpp"

namespace minima {

/// While one lives, the thread's products are of that type: bf16, f16, or f32 (as without one). Throws Error for others.
class Autocast {
 public:
  explicit Autocast(DType type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DType before_;
};

/// f32 where none lives.
DType autocast_type();

}  // namespace minima
