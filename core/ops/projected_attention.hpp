/// Attention with the projections of its input to queries, keys and values, as one op.
/// Vaswani et al. 2017, arXiv:1706.03762, §3.2.2.
///
///     x [rows, dim]   asking [asking rows, dim]   wq, wk, wv [dim, dim]   bq, bk, bv [dim]
///     q = asking wqᵀ + bq      k = x wkᵀ + bk      v = x wvᵀ + bv
///     y = attention(q, k, v)                        (core/ops/attention.hpp)
///
/// `asking` are the rows of x that ask; undefined, all do. The products of one input are one product
/// with the weights stacked, which is free of charge where these lie one after another in memory
/// (Tensor::stacked); their results stand side by side in the rows of one tensor.
///
/// x, asking and wq, wk, wv may be bf16 or f16, beside biases in f32: then q, k, v, y and their gradients are rounded to that
/// type, and the gradients of x, asking and the weights are f32. Attention takes them as it does where
/// they lie (attention_operand).
#pragma once

#include "core/ops/attention.hpp"

namespace minima::ops {

struct ProjectionWeights {
  Tensor wq, bq, wk, bk, wv, bv;
};

struct ProjectedAttentionResult {
  Tensor y;
  // What backward needs, besides y:
  Tensor q;        ///< [asking rows, dim] where `asking` is given
  Tensor kv;       ///< [rows, 2 dim]; where all ask, qkv [rows, 3 dim]
  Tensor log_sum;  ///< of attention
};

/// Throws Error when sizes, offsets or heads do not fit.
ProjectedAttentionResult projected_attention(const Tensor& x, const Tensor& asking,
                                             const ProjectionWeights& weights,
                                             const AttentionRows& rows, i64 heads,
                                             const DropoutSite& dropout);

struct ProjectedAttentionGradients {
  Tensor dx;       ///< undefined unless asked for
  Tensor dasking;  ///< undefined where `asking` is, or unless asked for
  ProjectionWeights dweights;
};

/// With dq, dk, dv of attention:
///
///     dwq = dqᵀ asking      dwk = dkᵀ x      dwv = dvᵀ x      dbq, dbk, dbv: their column sums
///     dx = dk wk + dv wv    dasking = dq wq, which is added to dx where all rows ask
///
/// What comes out of one product are views of one tensor. `so_far` is added to dx (linear_input_gradient).
ProjectedAttentionGradients projected_attention_backward(
    const Tensor& dy, const Tensor& x, const Tensor& asking, const ProjectionWeights& weights,
    ProjectedAttentionResult kept, const AttentionRows& rows, i64 heads, const DropoutSite& dropout,
    bool need_dx, bool need_dasking, Tensor so_far = {});

}  // namespace minima::ops
