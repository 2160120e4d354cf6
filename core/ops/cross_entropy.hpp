/// Cross-entropy of class logits against target classes, softmax included.
///
///     logits [N, C]   target [N] i64   →   loss [] (mean, sum) or [N] (none)
///     ℓ_i = w_t (1 − ε) (−ln p_it) + ε/C Σ_c w_c (−ln p_ic)      p_i = softmax(logits_i), t = target_i
///
/// ε is the label smoothing (Szegedy et al. 2016, arXiv:1512.00567, §7), w the weight of a class. A
/// target of `ignore_index` contributes nothing. The mean divides Σ ℓ_i by Σ w_t over the others,
/// as in PyTorch; where there are none it is NaN. f32 or f64. Throws Error for shapes that do not
/// fit and for targets outside of 0 … C−1.
#pragma once

#include "core/tensor.hpp"

namespace minima {

enum class Reduction { none, sum, mean };

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  double label_smoothing = 0;  ///< 0 ≤ ε ≤ 1
  i64 ignore_index = -100;
  Tensor weight = {};  ///< [C], of the type of the logits; undefined: all 1
};

}  // namespace minima

namespace minima::ops {

struct CrossEntropyOut {
  Tensor loss;
  Tensor statistics;  ///< [N, 2], for backward: M = max_c x_ic, and Σ_c e^(x_ic − M)
  Tensor divisor;     ///< [] f64, of the sum of ℓ_i; 1 unless the reduction is the mean
};
CrossEntropyOut cross_entropy(const Tensor& logits, const Tensor& target,
                              const CrossEntropyOptions& options);

/// The gradient of the logits: [N, C].
Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& target,
                              const CrossEntropyOptions& options, const CrossEntropyOut& out);
/// The same, written over the logits: of many classes both would be the largest tensors there are.
void cross_entropy_backward_in_place(const Tensor& dy, Tensor& logits, const Tensor& target,
                                     const CrossEntropyOptions& options,
                                     const CrossEntropyOut& out);

}  // namespace minima::ops
