/// Layer norm's kernels on the emulated device, against the CPU backend.
#include "core/ops/layer_norm.hpp"

#include "core/ops/layer_norm_device.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

Tensor random_tensor(const Shape& shape, const char* name, double mean) {
  Tensor tensor = Tensor::empty(shape);
  RandomSequence random(7, name);
  for (float& x : tensor.span<float>()) x = static_cast<float>(mean + random.normal());
  return tensor;
}

}  // namespace

TEST_CASE("layer norm's kernels agree with the CPU, forward and backward") {
  for (const i64 d : {1, 31, 256, 300, 768})
    for (const i64 rows : {1, 5, 40}) {
      CAPTURE(d);
      CAPTURE(rows);
      const Tensor x = random_tensor({rows, d}, "x", 3), dy = random_tensor({rows, d}, "dy", 0);
      const Tensor gamma = random_tensor({d}, "gamma", 1), beta = random_tensor({d}, "beta", 0);
      const ops::LayerNormResult cpu = ops::layer_norm(x, gamma, beta, 1e-5);
      Tensor y = Tensor::empty_like(x), mean = Tensor::empty({rows}), rstd = Tensor::empty({rows});
      emulated::layer_norm_forward(x.data<float>(), gamma.data<float>(), beta.data<float>(), 1e-5f,
                                   rows, d, y.data<float>(), mean.data<float>(),
                                   rstd.data<float>());
      test::check_close(y, cpu.y, {2e-5, 2e-5});
      test::check_close(mean, cpu.mean);

      const ops::LayerNormGradients gradients =
          ops::layer_norm_backward(dy, x, gamma, cpu.mean, cpu.rstd);
      Tensor dx = Tensor::empty_like(x), dgamma = Tensor::empty({d}), dbeta = Tensor::empty({d});
      emulated::layer_norm_backward(dy.data<float>(), x.data<float>(), gamma.data<float>(),
                                    cpu.mean.data<float>(), cpu.rstd.data<float>(), rows, d,
                                    dx.data<float>(), dgamma.data<float>(), dbeta.data<float>());
      if (d > 1) test::check_close(dx, gradients.dx, {5e-5, 5e-5});
      test::check_close(dgamma, gradients.dgamma, {1e-4, 1e-4});
      test::check_close(dbeta, gradients.dbeta, {1e-4, 1e-4});
    }
}
