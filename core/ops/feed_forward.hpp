/// The feed-forward net of a transformer: two products with GELU between them, as one op.
/// Vaswani et al. 2017, arXiv:1706.03762, eq. 2, with Hendrycks & Gimpel 2016, arXiv:1606.08415.
///
///     x [..., in]   w1 [hidden, in]   b1 [hidden]   w2 [out, hidden]   b2 [out]
///     h = x w1ᵀ + b1                                →   h [..., hidden], for backward
///     g = gelu(h)
///     y = g w2ᵀ + b2                                →   y [..., out]
///
/// GELU is taken of each tile of the first product while it is in cache, and of g nothing is kept:
/// backward makes it anew beside GELU's derivative, which needs the same exponential.
///
/// x, w1 and w2 may be bf16 or f16, beside biases in f32: then h, g, y and dh are rounded to that type, and the gradients of x
/// and the weights are f32. A GPU, which stores dy w2 before it makes dh of it, rounds that too.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

struct FeedForwardWeights {
  Tensor w1, b1, w2, b2;
};

struct FeedForwardResult {
  Tensor y, h;
};

/// Throws Error when the sizes do not fit.
FeedForwardResult feed_forward(const Tensor& x, const FeedForwardWeights& weights);

struct FeedForwardGradients {
  Tensor dx;  ///< undefined unless asked for
  Tensor dw1, db1, dw2, db2;
};

/// Given dy [..., out]:
///
///     dw2 = dyᵀ g      db2 = the column sums of dy
///     dh = (dy w2) ⊙ gelu′(h)
///     dw1 = dhᵀ x      db1 = the column sums of dh      dx = dh w1
///
/// `h` is overwritten with g, and `so_far` is added to dx (linear_input_gradient).
FeedForwardGradients feed_forward_backward(const Tensor& dy, const Tensor& x, Tensor h,
                                           const FeedForwardWeights& weights, bool need_dx,
                                           Tensor so_far = {});

}  // namespace minima::ops
