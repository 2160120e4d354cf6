#include "core/ops/layer_norm.hpp"

#include "core/cpu/simd.hpp"
#include "core/ops/layer_norm_row.hpp"
#include "core/ops/matmul.hpp"

namespace minima::ops {
namespace {

constexpr i64 kChunk = 16;  // rows that one task takes

template <class T>
void forward(Cpu, const T* x, const T* gamma, const T* beta, T eps, i64 rows, i64 d, T* y, T* mean,
             T* rstd) {
  parallel_chunks(rows, kChunk, [&](i64 begin, i64 end) {
    vectorize([&]() MINIMA_INLINE {
      for (i64 row = begin; row < end; ++row) {
        const auto moments = normalize_row(d, x + row * d, gamma, beta, eps, y + row * d);
        mean[row] = moments.mean;
        rstd[row] = moments.rstd;
      }
    });
  });
}

/// dgamma and dbeta come out as one partial sum per chunk of rows.
template <class T>
void backward(Cpu, const T* dy, const T* x, const T* gamma, const T* mean, const T* rstd, i64 rows,
              i64 d, T* dx, T* dgamma, T* dbeta) {
  parallel_for((rows + kChunk - 1) / kChunk, [&](i64 chunk) {
    vectorize([&]() MINIMA_INLINE {
      for (i64 row = chunk * kChunk; row < std::min(rows, (chunk + 1) * kChunk); ++row)
        normalize_row_backward<T>(d, dy + row * d, x + row * d, gamma, {mean[row], rstd[row]},
                                  dx + row * d, dgamma + chunk * d, dbeta + chunk * d);
    });
  });
}

}  // namespace

LayerNormResult layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check(x.rank() >= 1 && gamma.shape() == Shape{x.size(-1)} && beta.shape() == gamma.shape(),
        "layer_norm: x is {}, gamma {}, beta {}; both must be [{}]", x.shape(), gamma.shape(),
        beta.shape(), x.rank() ? x.size(-1) : 1);
  const i64 rows = x.shape().rows(), d = x.size(-1);
  LayerNormResult out{Tensor::empty_like(x), Tensor::empty({rows}, x.dtype(), x.device()),
                      Tensor::empty({rows}, x.dtype(), x.device())};
  visit_real("layer_norm", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      forward(device, x.data<T>(), gamma.data<T>(), beta.data<T>(), static_cast<T>(eps), rows, d,
              out.y.data<T>(), out.mean.data<T>(), out.rstd.data<T>());
    });
  });
  return out;
}

LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma,
                                       const Tensor& mean, const Tensor& rstd) {
  const i64 rows = x.shape().rows(), d = x.size(-1);
  const i64 chunks = (rows + kChunk - 1) / kChunk;
  Tensor dx = Tensor::empty_like(x);
  Tensor dgamma = Tensor::zeros({chunks, d}, x.dtype(), x.device());
  Tensor dbeta = Tensor::zeros({chunks, d}, x.dtype(), x.device());
  visit_real("layer_norm", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      backward(device, dy.data<T>(), x.data<T>(), gamma.data<T>(), mean.data<T>(), rstd.data<T>(),
               rows, d, dx.data<T>(), dgamma.data<T>(), dbeta.data<T>());
    });
  });
  return {std::move(dx), column_sums(dgamma), column_sums(dbeta)};
}

}  // namespace minima::ops
