/// Mixed precision: products of bf16 or f16 numbers, around them f32.   Micikevicius et al. 2018, arXiv:1710.03740.
///
///     {
///       const Autocast narrow(DType::bf16);
///       loss = cross_entropy(model(batch), labels);
///     }
///     loss.backward();      // in the precision of forward; gradients of parameters are f32, like the parameters
///
/// The functions of autograd/layers.hpp round the operands of their products (weights for the moment: what is trained
/// stays f32) and the results, in forward and in backward, and keep what backward needs in two bytes a number. Biases,
/// sums, statistics and losses stay f32, and so do linear_cross_entropy and all of autograd/functions.hpp.
///
/// What two such numbers multiply to is exact in f32, and sums are kept in f32: on a GPU by its units for such numbers, in
/// an order of theirs; on the CPU by f32 products of the rounded numbers, which saves memory, not time. Attention's weights
/// are operands of products too, and on a GPU are rounded as well (core/ops/attention.hpp).
#pragma once

#include "core/tensor.hpp"

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

/// x with each number rounded to the nearest of `type`, and still f32; x itself where `type` is f32.
Tensor rounded(const Tensor& x, DType type);

/// x as an operand of such a product: rounded, and in `type` on a GPU, which multiplies it so, elsewhere f32.
Tensor operand(const Tensor& x, DType type);

/// A tensor that waits for backward in `type`.
class Kept {
 public:
  Kept(const Tensor& x, DType type);
  /// Its rounded numbers in f32; x itself where the type is f32.
  Tensor wide() const;
  /// As an operand of a product of that type.
  Tensor operand() const;

 private:
  Tensor value_;
};

}  // namespace minima
