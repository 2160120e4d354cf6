#include "core/ops/residual_norm.hpp"

#include "core/cpu/simd.hpp"
#include "core/ops/layer_norm_row.hpp"
#include "core/ops/matmul.hpp"

namespace minima::ops {
namespace {

constexpr i64 kChunk = 16;  // rows that one task takes

}  // namespace

ResidualNormResult residual_norm(const Tensor& x, const Tensor& residual, const Tensor& gamma,
                                 const Tensor& beta, double eps, const DropoutSite& site,
                                 const Tensor& example_id, const Tensor& position) {
  check(x.rank() == 2 && residual.shape() == x.shape() && gamma.shape() == Shape{x.size(1)} &&
            beta.shape() == gamma.shape(),
        "residual_norm: x is {}, residual {}, gamma {}, beta {}; they must be [rows, d] twice and "
        "[d] twice",
        x.shape(), residual.shape(), gamma.shape(), beta.shape());
  const i64 n = x.size(0), d = x.size(1);
  const DropoutMask mask("residual_norm", x.shape(), site, example_id, position);
  ResidualNormResult out{Tensor::empty_like(x), Tensor::empty_like(x),
                         Tensor::empty({n}, x.dtype(), x.device()),
                         Tensor::empty({n}, x.dtype(), x.device())};
  visit_real("residual_norm", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *xs = x.data<T>(), *residuals = residual.data<T>(), *scale = gamma.data<T>(),
            *shift = beta.data<T>();
    T *y = out.y.data<T>(), *sum = out.sum.data<T>(), *mean = out.mean.data<T>(),
      *rstd = out.rstd.data<T>();
    parallel_chunks(n, kChunk, [&](i64 begin, i64 end) {
      vectorize([&]() MINIMA_INLINE {
        for (i64 row = begin; row < end; ++row) {
          T* to = sum + row * d;
          mask.apply(row, xs + row * d, to, d);
          for (i64 i = 0; i < d; ++i) to[i] += residuals[row * d + i];
          const auto moments = normalize_row(d, to, scale, shift, static_cast<T>(eps), y + row * d);
          mean[row] = moments.mean;
          rstd[row] = moments.rstd;
        }
      });
    });
  });
  return out;
}

ResidualNormGradients residual_norm_backward(const Tensor& dy, const ResidualNormResult& kept,
                                             const Tensor& gamma, const DropoutSite& site,
                                             const Tensor& example_id, const Tensor& position) {
  const i64 n = dy.size(0), d = dy.size(1), chunks = (n + kChunk - 1) / kChunk;
  const DropoutMask mask("residual_norm", dy.shape(), site, example_id, position);
  Tensor dresidual = Tensor::empty_like(dy);
  Tensor dx = site.rate > 0 ? Tensor::empty_like(dy) : dresidual;
  Tensor dgamma = Tensor::zeros({chunks, d}, dy.dtype(), dy.device());
  Tensor dbeta = Tensor::zeros({chunks, d}, dy.dtype(), dy.device());
  visit_real("residual_norm", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *gradient = dy.data<T>(), *sum = kept.sum.data<T>(), *mean = kept.mean.data<T>(),
            *rstd = kept.rstd.data<T>(), *scale = gamma.data<T>();
    T *to_residual = dresidual.data<T>(), *to_x = dx.data<T>(), *gamma_sum = dgamma.data<T>(),
      *beta_sum = dbeta.data<T>();
    parallel_for(chunks, [&](i64 chunk) {
      vectorize([&]() MINIMA_INLINE {
        for (i64 row = chunk * kChunk; row < std::min(n, (chunk + 1) * kChunk); ++row) {
          T* to = to_residual + row * d;
          normalize_row_backward<T>(d, gradient + row * d, sum + row * d, scale,
                                    {mean[row], rstd[row]}, to, gamma_sum + chunk * d,
                                    beta_sum + chunk * d);
          if (to_x != to_residual) mask.apply(row, to, to_x + row * d, d);
        }
      });
    });
  });
  return {std::move(dx), std::move(dresidual), column_sums(dgamma), column_sums(dbeta)};
}

}  // namespace minima::ops
