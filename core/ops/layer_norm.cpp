#include "core/ops/layer_norm.hpp"

#include "core/on_device.hpp"
#include "core/ops/layer_norm_row.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
LayerNormResult layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check(x.rank() >= 1 && gamma.shape() == Shape{x.size(-1)} && beta.shape() == gamma.shape(),
        "layer_norm: x is {}, gamma {}, beta {}; both must be [{}]", x.shape(), gamma.shape(),
        beta.shape(), x.rank() ? x.size(-1) : 1);
  check_together("layer_norm", x, gamma, beta);
  check_one_type("layer_norm", {x.dtype(), gamma.dtype(), beta.dtype()});
  const i64 rows = x.shape().rows(), d = x.size(-1);
  LayerNormResult out{Tensor::empty_like(x), Tensor::empty({rows}, x.dtype(), x.device()),
                      Tensor::empty({rows}, x.dtype(), x.device())};
  visit_real("layer_norm", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each_row(
          device, rows, d,
          LayerNormForward<T>{d, x.data<T>(), gamma.data<T>(), beta.data<T>(), static_cast<T>(eps),
                              out.y.data<T>(), out.mean.data<T>(), out.rstd.data<T>()});
    });
  });
  return out;
}

LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma,
                                       const Tensor& mean, const Tensor& rstd) {
  check_gradient("layer_norm", dy, x.shape());
  check(x.rank() >= 1 && gamma.shape() == Shape{x.size(-1)} && mean.size() == x.shape().rows() &&
            rstd.size() == mean.size(),
        "layer_norm: x is {}, gamma {}, means {}, deviations {}; they must be those of the forward",
        x.shape(), gamma.shape(), mean.shape(), rstd.shape());
  check_together("layer_norm", dy, x, gamma, mean, rstd);
  const i64 rows = x.shape().rows(), d = x.size(-1);
  const i64 chunks = ceil_div(rows, kNormRows);
  Tensor dx = Tensor::empty_like(x);
  Tensor dgamma = Tensor::empty({chunks, d}, x.dtype(), x.device());
  Tensor dbeta = Tensor::empty({chunks, d}, x.dtype(), x.device());
  visit_real("layer_norm", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each_row(
          device, chunks, kNormRows * d,
          LayerNormBackward<T>{rows, d, dy.data<T>(), x.data<T>(), gamma.data<T>(), mean.data<T>(),
                               rstd.data<T>(), dx.data<T>(), dgamma.data<T>(), dbeta.data<T>()});
    });
  });
  return {std::move(dx), column_sums(dgamma), column_sums(dbeta)};
}

}  // namespace minima::ops
