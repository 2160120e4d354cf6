/// Reductions over any set of dimensions.
///
/// `dims` may be negative, counted from the end; an empty list means all. With KeepDims::yes a
/// reduced dimension stays, with size 1. Sums are formed in double, in an order that depends on the
/// shape alone, and rounded once. f32 or f64. Throws Error for a dimension that does not exist or
/// is given twice, and for an extremum of nothing.
#pragma once

#include <vector>

#include "core/tensor.hpp"

namespace minima::ops {

using Dims = std::vector<int>;
enum class KeepDims { no, yes };

/// Σ x / divisor: one rounding for both.
Tensor sum(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no,
           double divisor = 1);
Tensor mean(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
/// The largest; NaN wins.
Tensor amax(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
Tensor amin(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
/// Σ (x − mean)² / (n − correction): correction 0 for the population's variance, 1 for a sample's. The divisor is at least
/// 0; divided by 0 the result is inf or NaN.
Tensor var(const Tensor& x, const Dims& dims = {}, i64 correction = 1,
           KeepDims keep = KeepDims::no);
/// ln Σ eˣ, formed as m + ln Σ e^(x−m) with the maximum m; of nothing −∞.
Tensor logsumexp(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);
/// √Σ x².
Tensor norm(const Tensor& x, const Dims& dims = {}, KeepDims keep = KeepDims::no);

// Backward. x and y are the reduction's input and output; dy and y have the output's shape, with or
// without the kept dimensions.
Tensor sum_backward(const Tensor& dy, const Shape& x, const Dims& dims);
Tensor mean_backward(const Tensor& dy, const Shape& x, const Dims& dims);
/// Of amax and amin: elements that are equal to the extremum share its gradient equally.
Tensor extremum_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims);
Tensor var_backward(const Tensor& dy, const Tensor& x, const Dims& dims, i64 correction);
Tensor logsumexp_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims);
/// 0 where the norm is 0.
Tensor norm_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims);

/// The index of the largest element along `dim`, the first of equals; NaN counts as largest. i64,
/// without that dimension.
Tensor argmax(const Tensor& x, int dim);

/// y_i = Σ_{j≤i} x_j along `dim`, and its gradient dx_i = Σ_{j≥i} dy_j.
Tensor cumsum(const Tensor& x, int dim);
Tensor cumsum_backward(const Tensor& dy, int dim);

/// The sum over the dimensions along which a tensor of `shape` was broadcast to x. x itself where
/// the shapes are equal.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// The shape of a reduction over `dims` of `shape`.
Shape reduced_shape(const char* op, const Shape& shape, const Dims& dims, KeepDims keep);

/// A shape seen from one of its dimensions: [outer, n, inner].
struct Around {
  i64 outer = 1, n = 1, inner = 1;
  Around(const Shape& shape, int dim) {
    const int axis = shape.axis(dim);
    for (int i = 0; i < shape.rank(); ++i) (i < axis ? outer : i == axis ? n : inner) *= shape[i];
  }
};

}  // namespace minima::ops
