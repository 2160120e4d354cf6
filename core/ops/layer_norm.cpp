#include "core/ops/layer_norm.hpp"

#include "core/cpu/simd.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/row.hpp"

namespace minima::ops {
namespace {

constexpr i64 kChunk = 16;  // rows that one task takes

template <class T>
void forward(Cpu, const T* x, const T* gamma, const T* beta, T eps, i64 rows, i64 d, T* y, T* mean,
             T* rstd) {
  parallel_chunks(rows, kChunk, [&](i64 begin, i64 end) {
    vectorize([&]() MINIMA_INLINE {
      for (i64 row = begin; row < end; ++row) {
        const T* in = x + row * d;
        T* out = y + row * d;
        // In double: where a row varies little, the mean's rounding is magnified by rstd.
        const T m = row_sum(d, [&](i64 i) MINIMA_INLINE { return in[i]; }) / static_cast<double>(d);
        const T variance =
            row_sum(d, [&](i64 i) MINIMA_INLINE { return (in[i] - m) * (in[i] - m); }) /
            static_cast<double>(d);
        const T r = 1 / std::sqrt(variance + eps);
        mean[row] = m;
        rstd[row] = r;
        for (i64 i = 0; i < d; ++i) out[i] = (in[i] - m) * r * gamma[i] + beta[i];
      }
    });
  });
}

/// dgamma and dbeta come out as one partial sum per chunk of rows.
template <class T>
void backward(Cpu, const T* dy, const T* x, const T* gamma, const T* mean, const T* rstd, i64 rows,
              i64 d, T* dx, T* dgamma, T* dbeta) {
  parallel_for((rows + kChunk - 1) / kChunk, [&](i64 chunk) {
    T* gamma_sum = dgamma + chunk * d;
    T* beta_sum = dbeta + chunk * d;
    vectorize([&]() MINIMA_INLINE {
      for (i64 row = chunk * kChunk; row < std::min(rows, (chunk + 1) * kChunk); ++row) {
        const T* in = x + row * d;
        const T* g = dy + row * d;
        T* out = dx + row * d;
        const T m = mean[row], r = rstd[row];
        const T mean_g = row_sum_as<T>(d, [&](i64 i) MINIMA_INLINE { return g[i] * gamma[i]; }) /
                         static_cast<T>(d);
        const T mean_gx =
            row_sum_as<T>(
                d, [&](i64 i) MINIMA_INLINE { return g[i] * gamma[i] * ((in[i] - m) * r); }) /
            static_cast<T>(d);
        for (i64 i = 0; i < d; ++i) {
          const T normalized = (in[i] - m) * r;
          out[i] = r * (g[i] * gamma[i] - mean_g - normalized * mean_gx);
          gamma_sum[i] += g[i] * normalized;
          beta_sum[i] += g[i];
        }
      }
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
