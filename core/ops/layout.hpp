/// Ops that move elements without computing: every tensor is contiguous, so each of them copies.
/// They take f32 and f64, the ones without a sum any type. Throw Error for a dimension that does
/// not exist, shapes that do not fit, and ids out of range.
#pragma once

#include <vector>

#include "core/tensor.hpp"

namespace minima::ops {

/// x with two dimensions exchanged.
Tensor transpose(const Tensor& x, int dim0, int dim1);
/// Dimension i of the result is dimension order[i] of x.
Tensor permute(const Tensor& x, const std::vector<int>& order);
/// The order that undoes `permute`.
std::vector<int> inverse_order(const std::vector<int>& order);

/// Every `step`-th element of `dim`, from `begin` up to but not including `end`. step ≥ 1 and
/// 0 ≤ begin ≤ end ≤ size.
struct Slice {
  int dim;
  i64 begin, end, step = 1;
};
Tensor slice(const Tensor& x, const Slice& slice);
/// dy in its places in a tensor of shape x, 0 elsewhere.
Tensor slice_backward(const Tensor& dy, const Shape& x, const Slice& slice);

/// x repeated along its dimensions of size 1 and along new ones in front, to fill `shape`.
Tensor expand(const Tensor& x, const Shape& shape);

/// Tensors one after another along `dim`; all other sizes must be equal.
Tensor cat(const std::vector<Tensor>& parts, int dim);
/// Tensors of one shape side by side along a new dimension `dim`.
Tensor stack(const std::vector<Tensor>& parts, int dim);

/// Element i along `dim` is element ids[i] of x. ids [n] i64, each from 0 to size−1. Along
/// dimension 0 this copies whole rows.
Tensor index_select(const Tensor& x, int dim, const Tensor& ids);
/// The same for an op that has checked the arguments; dim ≥ 0.
Tensor index_select_unchecked(const Tensor& x, int dim, const Tensor& ids);
/// The sum of dy over equal ids, in the order of the ids; 0 elsewhere.
Tensor index_select_backward(const Tensor& dy, const Shape& x, int dim, const Tensor& ids);

/// y[i][j][k] = x[i][ids[i][j][k]][k] for dim 1, and so on. ids: i64, of the shape of x but for
/// `dim`.
Tensor gather(const Tensor& x, int dim, const Tensor& ids);
/// A copy of x with src[i][j][k] added at [i][ids[i][j][k]][k] for dim 1, and so on, in the order
/// of j. ids and src have one shape, which is that of x but for `dim`.
Tensor scatter_add(const Tensor& x, int dim, const Tensor& ids, const Tensor& src);

}  // namespace minima::ops
