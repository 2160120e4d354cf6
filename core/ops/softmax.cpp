#include "core/ops/softmax.hpp"

#include "core/cpu/simd.hpp"
#include "core/math.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/row.hpp"

namespace minima::ops {
namespace {

// The kernels work on rows: one row of n elements from each input, one to the output.

struct Softmax {
  template <class T>
  MINIMA_HD void operator()(i64 n, const T* x, T* y) const {
    const T largest = row_max(n, x);
    // A row of nothing but −∞ has no distribution; its exponentials are 0 with any other shift.
    const T shift = largest == -std::numeric_limits<T>::infinity() ? T(0) : largest;
    for (i64 i = 0; i < n; ++i) y[i] = math::exp(x[i] - shift);
    const double total = row_sum(n, [y](i64 i) MINIMA_INLINE { return y[i]; });
    const T scale = total == 0 ? T(0) : static_cast<T>(1 / total);
    for (i64 i = 0; i < n; ++i) y[i] *= scale;
  }
};

struct SoftmaxBackward {
  template <class T>
  MINIMA_HD void operator()(i64 n, const T* dy, const T* y, T* dx) const {
    const T mean =
        static_cast<T>(row_sum(n, [dy, y](i64 i) MINIMA_INLINE { return dy[i] * y[i]; }));
    for (i64 i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - mean);
  }
};

struct LogSoftmax {
  template <class T>
  MINIMA_HD void operator()(i64 n, const T* x, T* y) const {
    const T shift = row_max(n, x);
    const double total =
        row_sum(n, [x, shift](i64 i) MINIMA_INLINE { return math::exp(x[i] - shift); });
    const T log_total = math::log(static_cast<T>(total));
    for (i64 i = 0; i < n; ++i) y[i] = x[i] - shift - log_total;
  }
};

struct LogSoftmaxBackward {
  template <class T>
  MINIMA_HD void operator()(i64 n, const T* dy, const T* y, T* dx) const {
    const T total = static_cast<T>(row_sum(n, [dy](i64 i) MINIMA_INLINE { return dy[i]; }));
    for (i64 i = 0; i < n; ++i) dx[i] = dy[i] - math::exp(y[i]) * total;
  }
};

template <class Row, class T, class... Inputs>
void each_row(Cpu, const Row& row, i64 rows, i64 n, T* y, const Inputs*... x) {
  if (n == 0) return;
  parallel_chunks(rows, std::max<i64>(1, (1 << 13) / n), [&](i64 first, i64 last) {
    const auto loop = [&]() MINIMA_INLINE {
      for (i64 r = first; r < last; ++r) row(n, x + r * n..., y + r * n);
    };
    if constexpr (std::is_same_v<T, float>)
      vectorize(loop);
    else
      loop();
  });
}

/// Applies a row kernel along `dim`; a dimension other than the last is brought there and back.
template <class Row, class... Inputs>
Tensor along(const char* op, const Row& row, int dim, const Tensor& x, const Inputs&... others) {
  check(dim >= -x.rank() && dim < x.rank(), "{}: {} has no dimension {}", op, x.shape(), dim);
  const int axis = x.shape().axis(dim), last = x.rank() - 1;
  if (axis != last)
    return transpose(
        along(op, row, last, transpose(x, axis, last), transpose(others, axis, last)...), axis,
        last);
  Tensor y = Tensor::empty_like(x);
  visit_real(op, x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each_row(device, row, x.shape().rows(), x.size(last), y.data<T>(), x.data<T>(),
               others.template data<T>()...);
    });
  });
  return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int dim) { return along("softmax", Softmax{}, dim, x); }

Tensor softmax_backward(const Tensor& dy, const Tensor& y, int dim) {
  return along("softmax", SoftmaxBackward{}, dim, dy, y);
}

Tensor softmax_masked(const Tensor& x, const Tensor& keep, int dim) {
  check(keep.shape() == x.shape(), "softmax_masked: x is {}, keep {}; they must have one shape",
        x.shape(), keep.shape());
  return softmax(where(keep, x, scalar_like(x, -std::numeric_limits<double>::infinity())), dim);
}

Tensor log_softmax(const Tensor& x, int dim) { return along("log_softmax", LogSoftmax{}, dim, x); }

Tensor log_softmax_backward(const Tensor& dy, const Tensor& y, int dim) {
  return along("log_softmax", LogSoftmaxBackward{}, dim, dy, y);
}

}  // namespace minima::ops
