/// The list of differentiable ops. `record` takes no other name (checked when compiled), and the
/// gradcheck test asks for a row for each name: an op of this tree without a test cannot exist. A program's own op
/// is named by OpName::elsewhere.
#pragma once

#include <algorithm>
#include <string_view>

namespace minima {

inline constexpr std::string_view kOps[] = {
    // elementwise, one argument
    "gelu", "gelu_tanh", "relu", "tanh", "sigmoid", "silu", "exp", "log", "sqrt", "rsqrt", "abs",
    "neg", "square", "erf",
    // elementwise, two arguments
    "add", "sub", "mul", "div", "maximum", "minimum", "pow", "where", "mse", "bce_with_logits",
    // reductions and scans
    "sum", "mean", "amax", "amin", "var", "logsumexp", "norm", "cumsum",
    // rows as distributions
    "softmax", "softmax_masked", "log_softmax", "cross_entropy", "linear_cross_entropy",
    // layout
    "reshape", "transpose", "permute", "slice", "expand", "cat", "stack", "index_select", "gather",
    "scatter_add",
    // texts
    "embedding", "mean_pool",
    // layers (autograd/layers.hpp)
    "matmul", "linear", "layer_norm", "dropout", "attention",
    // several layers in one, where memory decides
    "feed_forward", "residual_norm", "projected_attention",
    // any at once (autograd/checkpoint.hpp; nn/replayed_loss.hpp)
    "checkpoint"};

/// The name of an op in kOps; any other string does not compile.
struct OpName {
  consteval OpName(const char* op) : name(op) {
    if (std::ranges::find(kOps, name) == std::end(kOps))
      throw "this op is not in kOps (autograd/ops.hpp)";
  }
  /// The name of an op outside of this tree; there `gradcheck` (autograd/gradcheck.hpp) tells whether its gradient is right.
  static consteval OpName elsewhere(const char* op) { return OpName(std::string_view(op)); }

  std::string_view name;

 private:
  consteval explicit OpName(std::string_view op) : name(op) {}
};

}  // namespace minima
