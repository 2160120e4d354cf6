#pragma once

#include "autograd/layers.hpp"
#include "nn/module.hpp"

namespace minima::nn {

/// y = x Wᵀ + b.   x [..., in] → y [..., out].   Parameters: weight [out, in], bias [out].
class Linear : public Module {
 public:
  Linear(i64 in, i64 out, double deviation)
      : weight(param("weight", {out, in}, Init::normal(deviation))),
        bias(param("bias", {out}, Init::zeros())) {}
  Variable operator()(const Variable& x) const {
    const LinearWeights own = weights();
    return linear(x, own.w, own.b);
  }
  /// For ops of several layers. They are made in this order, which arguments of a call need not be, and backward goes by it.
  LinearWeights weights() const { return {weight, bias}; }
  Parameter &weight, &bias;
};

}  // namespace minima::nn
