#include "core/ops/pool.hpp"

#include "core/cpu/simd.hpp"

namespace minima::ops {
namespace {

template <class T>
void forward(Cpu, i64 texts, i64 width, const i64* offsets, const T* x, T* y) {
  parallel_for(texts, [&](i64 b) {
    vectorize([&]() MINIMA_INLINE {
      T* mean = y + b * width;
      std::fill_n(mean, width, T(0));
      for (i64 i = offsets[b]; i < offsets[b + 1]; ++i)
        for (i64 j = 0; j < width; ++j) mean[j] += x[i * width + j];
      const T count = static_cast<T>(offsets[b + 1] - offsets[b]);
      for (i64 j = 0; j < width; ++j) mean[j] /= count;
    });
  });
}

template <class T>
void backward(Cpu, i64 texts, i64 width, const i64* offsets, const T* dy, T* dx) {
  parallel_for(texts, [&](i64 b) {
    vectorize([&]() MINIMA_INLINE {
      const T count = static_cast<T>(offsets[b + 1] - offsets[b]);
      for (i64 i = offsets[b]; i < offsets[b + 1]; ++i)
        for (i64 j = 0; j < width; ++j) dx[i * width + j] = dy[b * width + j] / count;
    });
  });
}

}  // namespace

Tensor mean_pool(const Tensor& x, const Tensor& offsets) {
  check(x.rank() == 2 && offsets.rank() == 1 && offsets.size() >= 1,
        "mean_pool: x is {}, offsets {}; they must be [T, d] and [B+1]", x.shape(),
        offsets.shape());
  const i64 texts = offsets.size() - 1;
  const i64* offset = offsets.data<i64>();
  check(offset[0] == 0 && offset[texts] == x.size(0),
        "mean_pool: offsets go from {} to {}; they must go from 0 to the {} rows of x", offset[0],
        offset[texts], x.size(0));
  for (i64 b = 0; b < texts; ++b)
    check(offset[b] < offset[b + 1], "mean_pool: text {} goes from {} to {}; it needs a row", b,
          offset[b], offset[b + 1]);
  Tensor y = Tensor::empty({texts, x.size(1)}, x.dtype(), x.device());
  visit_real("mean_pool", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      forward(device, texts, x.size(1), offset, x.data<T>(), y.data<T>());
    });
  });
  return y;
}

Tensor mean_pool_backward(const Tensor& dy, const Tensor& offsets) {
  const i64* offset = offsets.data<i64>();
  Tensor dx = Tensor::empty({offset[dy.size(0)], dy.size(1)}, dy.dtype(), dy.device());
  visit_real("mean_pool", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(dy.device(), [&](auto device) {
      backward(device, dy.size(0), dy.size(1), offset, dy.data<T>(), dx.data<T>());
    });
  });
  return dx;
}

}  // namespace minima::ops
