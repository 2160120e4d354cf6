/// Layer norm on a GPU backend (core/ops/layer_norm.cu). Shapes as in core/ops/layer_norm.hpp; all
/// pointers are the device's.
#pragma once

#include "core/cuda/launch.hpp"

namespace minima::MINIMA_BACKEND {

void layer_norm_forward(const float* x, const float* gamma, const float* beta, float eps, i64 rows,
                        i64 d, float* y, float* mean, float* rstd);
/// dx [rows, d], dgamma and dbeta [d].
void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean,
                         const float* rstd, i64 rows, i64 d, float* dx, float* dgamma,
                         float* dbeta);

}  // namespace minima::MINIMA_BACKEND
