/// mean_pool: the mean of each packed text's rows.
///
///     x [T, d]   offsets [B+1] i64   →   y [B, d]
///     y_b = mean of x_i, offsets[b] ≤ i < offsets[b+1]
///
/// f32 or f64. Throws Error unless the offsets rise from 0 to T; a text without rows has no mean (on a GPU, which does
/// not wait to look: NaN).
#pragma once

#include "core/tensor.hpp"

namespace minima::ops {

Tensor mean_pool(const Tensor& x, const Tensor& offsets);
/// dx_i = dy_b / n_b for the n_b rows i of text b; `rows` of them in all. Throws Error for offsets as above.
Tensor mean_pool_backward(const Tensor& dy, const Tensor& offsets, i64 rows);

}  // namespace minima::ops
