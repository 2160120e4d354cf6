#pragma once

#include "autograd/layers.hpp"
#include "nn/module.hpp"

namespace minima::nn {

/// Normalizes the last axis, then scales and shifts.   x [..., d] → y [..., d].
/// Parameters: weight, bias [d].
class LayerNorm : public Module {
 public:
  LayerNorm(i64 d, double eps)
      : weight(param("weight", {d}, Init::ones())),
        bias(param("bias", {d}, Init::zeros())),
        eps(eps) {}
  Variable operator()(const Variable& x) const { return layer_norm(x, weight, bias, eps); }
  Parameter &weight, &bias;
  double eps;
};

}  // namespace minima::nn
