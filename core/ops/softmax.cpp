#include "core/ops/softmax.hpp"

#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/softmax_rows.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// Applies a row kernel along `dim`; a dimension other than the last is brought there and back.
template <template <class> class Row, class... Inputs>
Tensor along(const char* op, int dim, const Tensor& x, const Inputs&... others) {
  check(dim >= -x.rank() && dim < x.rank(), "{}: {} has no dimension {}", op, x.shape(), dim);
  (check_gradient(op, x, others.shape()), ...);
  check_together(op, x, others...);
  const int axis = x.shape().axis(dim), last = x.rank() - 1;
  if (axis != last)
    return transpose(
        along<Row>(op, last, transpose(x, axis, last), transpose(others, axis, last)...), axis,
        last);
  Tensor y = Tensor::empty_like(x);
  const i64 n = x.size(last);
  if (n == 0) return y;
  visit_real(op, x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each_row(device, x.shape().rows(), n,
               Row<T>{n, x.data<T>(), others.template data<T>()..., y.data<T>()});
    });
  });
  return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int dim) { return along<Softmax>("softmax", dim, x); }

Tensor softmax_backward(const Tensor& dy, const Tensor& y, int dim) {
  return along<SoftmaxBackward>("softmax", dim, dy, y);
}

Tensor softmax_masked(const Tensor& x, const Tensor& keep, int dim) {
  check(common_shape(x.shape(), keep.shape()) == x.shape(),
        "softmax_masked: x is {}, keep {}; it must broadcast to x", x.shape(), keep.shape());
  return softmax(where(keep, x, scalar_like(x, -std::numeric_limits<double>::infinity())), dim);
}

Tensor log_softmax(const Tensor& x, int dim) { return along<LogSoftmax>("log_softmax", dim, x); }

Tensor log_softmax_backward(const Tensor& dy, const Tensor& y, int dim) {
  return along<LogSoftmaxBackward>("log_softmax", dim, dy, y);
}

}  // namespace minima::ops
