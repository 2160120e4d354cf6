/// Cross-entropy of the logits x wᵀ + bias, of which only a few rows exist at a time: for a language
/// model, whose logits [rows, vocabulary] would outweigh all the rest.
///
///     x [M, d]   w [C, d]   bias [C]   target [M] i64   →   loss [], the mean over the n rows that count
///     z = x wᵀ + bias      loss = 1/n Σ_i −ln softmax(z_i)_t      t = target_i
///     dz = (softmax(z) − onehot(target)) / n      dx = dz w      dw = dzᵀ x      dbias = Σ_i dz_i
///
/// The loss is the last thing that is computed, so its gradients need nothing that is not there
/// yet: they are made on the way forward, chunk by chunk of rows, dz written over z (Hsu et al.
/// 2024, arXiv:2410.10989, §3.2). f32 or f64. A row with the target −100 does not count; where none does, the loss and
/// the gradients are 0. Throws Error for shapes that do not fit and for other targets outside of 0 … C−1.
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

struct LinearCrossEntropyOut {
  Tensor loss;
  Tensor dx, dw, dbias;  ///< where they were asked for; for dloss = 1
};
/// Which are asked for.
struct Gradients {
  bool dx, dw, dbias;
};

LinearCrossEntropyOut linear_cross_entropy(const Tensor& x, const Tensor& w, const Tensor& bias,
                                           const Tensor& target, Gradients needed);

/// The rows whose logits exist at once: they fill about 16 MB, so the number depends on the classes
/// alone.
i64 linear_cross_entropy_chunk(i64 classes);

}  // namespace minima::ops
