#include "core/ops/residual_norm.hpp"

#include "core/on_device.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/residual_norm_rows.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
ResidualNormResult residual_norm(const Tensor& x, const Tensor& residual, const Tensor& gamma,
                                 const Tensor& beta, double eps, const DropoutSite& site,
                                 const Tensor& example_id, const Tensor& position) {
  check(x.rank() == 2 && residual.shape() == x.shape() && gamma.shape() == Shape{x.size(1)} &&
            beta.shape() == gamma.shape(),
        "residual_norm: x is {}, residual {}, gamma {}, beta {}; they must be [rows, d] twice and "
        "[d] twice",
        x.shape(), residual.shape(), gamma.shape(), beta.shape());
  check_together("residual_norm", x, residual, gamma, beta, example_id, position);
  check_one_type("residual_norm",
                 {widened(x.dtype()), residual.dtype(), gamma.dtype(), beta.dtype()});
  const i64 n = x.size(0), d = x.size(1);
  const DropoutMask mask("residual_norm", x.shape(), site, example_id, position);
  ResidualNormResult out{.y = Tensor::empty_like(residual),
                         .sum = Tensor::empty_like(x),
                         .mean = Tensor::empty({n}, residual.dtype(), x.device()),
                         .rstd = Tensor::empty({n}, residual.dtype(), x.device()),
                         .rounded = is_narrow(x.dtype()) ? Tensor::empty_like(x) : Tensor()};
  visit_float("residual_norm", x.dtype(), [&](auto zero) {
    using X = decltype(zero);
    using T = Widened<X>;
    X* const rounded = out.rounded.defined() ? out.rounded.data<X>() : nullptr;
    on_device(x.device(), [&](auto device) {
      each_row(device, n, d,
               ResidualNormForward<T, X>{mask, d, x.data<X>(), residual.data<T>(), gamma.data<T>(),
                                         beta.data<T>(), static_cast<T>(eps), out.sum.data<X>(),
                                         out.y.data<T>(), rounded, out.mean.data<T>(),
                                         out.rstd.data<T>()});
    });
  });
  return out;
}

ResidualNormGradients residual_norm_backward(const Tensor& dy, const ResidualNormResult& kept,
                                             const Tensor& gamma, const DropoutSite& site,
                                             const Tensor& example_id, const Tensor& position) {
  check_gradient("residual_norm", dy, kept.sum.shape());
  check(
      dy.rank() == 2 && gamma.shape() == Shape{dy.size(1)} &&
          kept.mean.shape() == Shape{dy.size(0)} && kept.rstd.shape() == kept.mean.shape(),
      "residual_norm: the sum is {}, gamma {}, means {}, deviations {}; they must be those of the "
      "forward",
      dy.shape(), gamma.shape(), kept.mean.shape(), kept.rstd.shape());
  check_together("residual_norm", dy, kept.sum, kept.mean, kept.rstd, gamma, example_id, position);
  const i64 n = dy.size(0), d = dy.size(1), chunks = ceil_div(n, kNormRows);
  const DropoutMask mask("residual_norm", dy.shape(), site, example_id, position);
  Tensor dresidual = Tensor::empty_like(dy);
  const bool own_dx = site.rate > 0 || is_narrow(kept.sum.dtype());
  Tensor dx = own_dx ? Tensor::empty_like(kept.sum) : dresidual;
  Tensor dgamma = Tensor::empty({chunks, d}, dy.dtype(), dy.device());
  Tensor dbeta = Tensor::empty({chunks, d}, dy.dtype(), dy.device());
  visit_float("residual_norm", kept.sum.dtype(), [&](auto zero) {
    using X = decltype(zero);
    using T = Widened<X>;
    on_device(dy.device(), [&](auto device) {
      each_row(device, chunks, kNormRows * d,
               ResidualNormBackward<T, X>{
                   mask,
                   {n, d, dy.data<T>(), kept.sum.data<X>(), gamma.data<T>(), kept.mean.data<T>(),
                    kept.rstd.data<T>(), dresidual.data<T>(), dgamma.data<T>(), dbeta.data<T>()},
                   own_dx ? dx.data<X>() : nullptr});
    });
  });
  return {std::move(dx), std::move(dresidual), column_sums(dgamma), column_sums(dbeta)};
}

}  // namespace minima::ops
