/// Layer norm over the last axis.   Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 4.
///
///     x [..., d]   gamma, beta [d]   →   y [..., d]   mean, rstd [rows]
///     y = (x − mean) · rstd · gamma + beta          rstd = 1/√(variance + ε)
///
/// The variance is that of the row (divided by d). Mean first, then the squares of the differences:
/// two passes over a row in cache, and no cancellation for inputs far from zero.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

struct LayerNormResult {
  Tensor y;
  Tensor mean, rstd;  ///< one number a row; what backward needs besides x
};

/// Throws Error unless gamma and beta are [d].
LayerNormResult layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps);

struct LayerNormGradients {
  Tensor dx, dgamma, dbeta;
};

/// With x̂ = (x − mean) · rstd:
///
///     dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))   g = dy · gamma
///     dgamma = Σ dy · x̂                             over the rows, in chunks of fixed size, in order
///     dbeta = Σ dy
LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma,
                                       const Tensor& mean, const Tensor& rstd);

}  // namespace minima::ops
