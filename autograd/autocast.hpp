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
/// The CPU computes a product in f32 from the rounded numbers, as the units of a GPU for such numbers do it: what two
/// of them multiply to is exact in f32, and so is the sum kept. Without such units this saves memory, not time.
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
