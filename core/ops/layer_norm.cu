/// Layer norm's kernels: a block takes a row, a thread every kThreads-th element of it. The formulas are those of
/// core/ops/layer_norm.hpp; pointers are the device's.
#include "core/cuda/block.hpp"
#include "core/ops/layer_norm_device.hpp"

namespace minima::MINIMA_BACKEND {
namespace {

__global__ void forward_kernel(const float* x, const float* gamma, const float* beta, float eps,
                               i64 d, float* y, float* mean, float* rstd) {
  __shared__ float warps[kThreads / 32];
  const i64 row = blockIdx.x;
  const float* const in = x + row * d;
  float sum = 0;
  for (i64 i = threadIdx.x; i < d; i += kThreads) sum += in[i];
  const float m = block_fold(sum, Sum{}, warps) / static_cast<float>(d);
  float squares = 0;
  for (i64 i = threadIdx.x; i < d; i += kThreads) squares += (in[i] - m) * (in[i] - m);
  const float r = 1 / sqrtf(block_fold(squares, Sum{}, warps) / static_cast<float>(d) + eps);
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
  for (i64 i = threadIdx.x; i < d; i += kThreads)
    y[row * d + i] = (in[i] - m) * r * gamma[i] + beta[i];
}

__global__ void input_gradient_kernel(const float* dy, const float* x, const float* gamma,
                                      const float* mean, const float* rstd, i64 d, float* dx) {
  __shared__ float warps[kThreads / 32];
  const i64 row = blockIdx.x;
  const float* const in = x + row * d;
  const float* const g = dy + row * d;
  const float m = mean[row], r = rstd[row];
  float sum_g = 0, sum_gx = 0;
  for (i64 i = threadIdx.x; i < d; i += kThreads) {
    sum_g += g[i] * gamma[i];
    sum_gx += g[i] * gamma[i] * ((in[i] - m) * r);
  }
  const float mean_g = block_fold(sum_g, Sum{}, warps) / static_cast<float>(d);
  const float mean_gx = block_fold(sum_gx, Sum{}, warps) / static_cast<float>(d);
  for (i64 i = threadIdx.x; i < d; i += kThreads)
    dx[row * d + i] = r * (g[i] * gamma[i] - mean_g - (in[i] - m) * r * mean_gx);
}

/// A thread takes a column and adds its rows in order: the bits follow from the shape alone.
__global__ void parameter_gradient_kernel(const float* dy, const float* x, const float* mean,
                                          const float* rstd, i64 rows, i64 d, float* dgamma,
                                          float* dbeta) {
  const i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= d) return;
  float gamma_sum = 0, beta_sum = 0;
  for (i64 row = 0; row < rows; ++row) {
    const float g = dy[row * d + i];
    gamma_sum += g * ((x[row * d + i] - mean[row]) * rstd[row]);
    beta_sum += g;
  }
  dgamma[i] = gamma_sum;
  dbeta[i] = beta_sum;
}

}  // namespace

void layer_norm_forward(const float* x, const float* gamma, const float* beta, float eps, i64 rows,
                        i64 d, float* y, float* mean, float* rstd) {
  launch(forward_kernel, dim3(static_cast<unsigned>(rows)), dim3(kThreads), 0, x, gamma, beta, eps,
         d, y, mean, rstd);
}

void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean,
                         const float* rstd, i64 rows, i64 d, float* dx, float* dgamma,
                         float* dbeta) {
  launch(input_gradient_kernel, dim3(static_cast<unsigned>(rows)), dim3(kThreads), 0, dy, x, gamma,
         mean, rstd, d, dx);
  launch(parameter_gradient_kernel, dim3(static_cast<unsigned>((d + kThreads - 1) / kThreads)),
         dim3(kThreads), 0, dy, x, mean, rstd, rows, d, dgamma, dbeta);
}

}  // namespace minima::MINIMA_BACKEND
