/// softmax and log_softmax along one dimension. f32 or f64; throw Error for a dimension that does
/// not exist.
///
///     y_i = e^(x_i − m) / Σ_j e^(x_j − m), m = max x; nothing overflows; 0 where all x are −∞
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

Tensor softmax(const Tensor& x, int dim);
/// dx = y (dy − Σ dy·y). Also for the masked softmax.
Tensor softmax_backward(const Tensor& dy, const Tensor& y, int dim);

/// softmax over the elements whose `keep`, which broadcasts to x, is not 0, as if the others were −∞: they get
/// probability 0. A row that keeps nothing is all 0.
Tensor softmax_masked(const Tensor& x, const Tensor& keep, int dim);

/// y_i = x_i − m − ln Σ_j e^(x_j − m); NaN where all x are −∞.
Tensor log_softmax(const Tensor& x, int dim);
/// dx = dy − e^y Σ dy.
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y, int dim);

}  // namespace minima::ops
