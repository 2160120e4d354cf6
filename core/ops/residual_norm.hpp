/// What stands behind each half of a transformer block, as one op: dropout, the residual
/// connection and layer norm ("post-norm").   Vaswani et al. 2017, arXiv:1706.03762, §3.1 and §5.4.
///
///     x, residual [rows, d]   gamma, beta [d]   →   y, sum [rows, d]   mean, rstd [rows]
///     sum = residual + dropout(x)
///     y = layer_norm(sum)
///
/// A row passes through it in cache: x and residual are read once, sum and y written once. The
/// mask of the dropout is made anew in backward (core/ops/dropout.hpp).
///
/// x may be bf16 or f16, beside a residual, weights and statistics in f32. Then the sum is rounded to that type before it is
/// normalized, so that backward has the same, and y is given in both: f32 for the next residual, rounded for products.
#pragma once

#include "core/ops/dropout.hpp"
#include "core/ops/layer_norm.hpp"

namespace minima::ops {

struct ResidualNormResult {
  Tensor y;
  Tensor sum, mean, rstd;  ///< what backward needs
  Tensor rounded;          ///< y in the type of x, where that is narrow
};

/// `example_id` and `position` [rows] say what each row is, for the dropout; with a rate of 0 they
/// may be undefined. Throws Error when sizes do not fit or the rate is not in [0, 1).
ResidualNormResult residual_norm(const Tensor& x, const Tensor& residual, const Tensor& gamma,
                                 const Tensor& beta, double eps, const DropoutSite& site,
                                 const Tensor& example_id, const Tensor& position);

struct ResidualNormGradients {
  Tensor dx, dresidual;  ///< one and the same tensor where nothing is dropped or rounded
  Tensor dgamma, dbeta;
};

/// dresidual, dgamma and dbeta are those of layer norm at `sum`; dx = dropout(dresidual), of the type of x.
ResidualNormGradients residual_norm_backward(const Tensor& dy, const ResidualNormResult& kept,
                                             const Tensor& gamma, const DropoutSite& site,
                                             const Tensor& example_id, const Tensor& position);

}  // namespace minima::ops
