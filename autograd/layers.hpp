/// The differentiable functions that layers are made of: products, layer norm, attention, dropout.
/// Shapes and formulas are those of the ops (core/ops/*.hpp); here forward and backward stand side
/// by side.
#pragma once

#include "autograd/variable.hpp"
#include "core/ops/attention.hpp"
#include "core/ops/dropout.hpp"
#include "core/ops/matmul.hpp"

namespace minima {

using ops::Transpose;

/// op(a) op(b) over the last two dimensions; leading dimensions broadcast (core/ops/matmul.hpp).
Variable matmul(const Variable& a, const Variable& b, Transpose ta = Transpose::no,
                Transpose tb = Transpose::no);

/// y = x wᵀ + bias.   x [..., in], w [out, in], bias [out]   →   y [..., out].
/// A bias without a value is left out.
Variable linear(const Variable& x, const Variable& w, const Variable& bias = {});

/// Normalizes the last axis (core/ops/layer_norm.hpp).
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps);

/// Zeroes elements with probability site.rate, by counter.   x [rows, …], example_id, position [rows].
Variable dropout(const Variable& x, const ops::DropoutSite& site, const Tensor& example_id,
                 const Tensor& position);

/// softmax(q kᵀ / √head_dim) v for each text and head (core/ops/attention.hpp).
Variable attention(const Variable& q, const Variable& k, const Variable& v,
                   const ops::AttentionRows& rows, i64 heads, const ops::DropoutSite& dropout = {});

// ---- several layers in one, where memory decides

/// A product's weights.
struct LinearWeights {
  Variable w, b;
};

/// gelu(x w1ᵀ + b1) w2ᵀ + b2 (core/ops/feed_forward.hpp).
Variable feed_forward(const Variable& x, const LinearWeights& first, const LinearWeights& second);

/// layer_norm(residual + dropout(x)) (core/ops/residual_norm.hpp).   x, residual [rows, d].
Variable residual_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                       const Variable& beta, double eps, const ops::DropoutSite& site = {},
                       const Tensor& example_id = {}, const Tensor& position = {});

/// attention(asking wqᵀ + bq, x wkᵀ + bk, x wvᵀ + bv) (core/ops/projected_attention.hpp). Where
/// `asking` has no value, all rows of x ask.
Variable projected_attention(const Variable& x, const Variable& asking, const LinearWeights& q,
                             const LinearWeights& k, const LinearWeights& v,
                             const ops::AttentionRows& rows, i64 heads,
                             const ops::DropoutSite& dropout = {});

}  // namespace minima
