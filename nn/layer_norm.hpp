#pragma once

#include "autograd/layers.hpp"
#include "nn/module.hpp"
#include "nn/pass.hpp"

namespace minima::nn {

/// Normalizes the last axis, then scales and shifts.   x [..., d] → y [..., d].
/// Parameters: weight, bias [d].
class LayerNorm : public Module {
 public:
  LayerNorm(i64 d, double eps)
      : weight(param("weight", {d}, Init::ones())),
        bias(param("bias", {d}, Init::zeros())),
        eps(eps) {}
  Variable operator()(const Variable& x) const {
    const Variable gamma(weight), beta(bias);  // in this order (see Linear::weights)
    return layer_norm(x, gamma, beta, eps);
  }
  /// Of residual + dropout(x), in one pass.   x, residual [R, d], whose rows are `rows`.
  Variable operator()(const Variable& x, const Variable& residual,
                      const ops::DropoutSite& dropout = {}, const PackedRows& rows = {}) const {
    const Variable gamma(weight), beta(bias);
    return residual_norm(x, residual, gamma, beta, eps, dropout, rows.row_example, rows.positions);
  }
  Parameter &weight, &bias;
  double eps;
};

}  // namespace minima::nn
