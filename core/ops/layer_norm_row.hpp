/// One row of layer norm (core/ops/layer_norm.hpp), for the kernels of the ops that contain it.
#pragma once

#include <cmath>

#include "core/ops/row.hpp"

namespace minima::ops {

template <class T>
struct RowMoments {
  T mean, rstd;
};

/// y = (x − mean) · rstd · gamma + beta.
template <class T>
MINIMA_HD RowMoments<T> normalize_row(i64 d, const T* x, const T* gamma, const T* beta, T eps,
                                      T* y) {
  // In double: where a row varies little, the mean's rounding is magnified by rstd.
  const auto element = [x](i64 i) __attribute__((always_inline)) { return x[i]; };
  const T mean = row_sum(d, element) / static_cast<double>(d);
  const auto squared = [ x, mean ](i64 i) __attribute__((always_inline)) {
    return (x[i] - mean) * (x[i] - mean);
  };
  const T variance = row_sum(d, squared) / static_cast<double>(d);
  const T rstd = 1 / std::sqrt(variance + eps);
#pragma omp simd
  for (i64 i = 0; i < d; ++i) y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
  return {mean, rstd};
}

/// With x̂ = (x − mean) · rstd and g = dy · gamma:
///
///     dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))      dgamma += dy · x̂      dbeta += dy
template <class T>
MINIMA_HD void normalize_row_backward(i64 d, const T* dy, const T* x, const T* gamma,
                                      RowMoments<T> moments, T* dx, T* dgamma, T* dbeta) {
  const auto [mean, rstd] = moments;
  const auto g = [ dy, gamma ](i64 i) __attribute__((always_inline)) { return dy[i] * gamma[i]; };
  const auto gx = [ dy, gamma, x, mean = mean, rstd = rstd ](i64 i) __attribute__((always_inline)) {
    return dy[i] * gamma[i] * ((x[i] - mean) * rstd);
  };
  const T mean_g = row_sum_as<T>(d, g) / static_cast<T>(d);
  const T mean_gx = row_sum_as<T>(d, gx) / static_cast<T>(d);
#pragma omp simd  // six pointers: else GCC fears that they overlap
  for (i64 i = 0; i < d; ++i) {
    const T normalized = (x[i] - mean) * rstd;
    dx[i] = rstd * (dy[i] * gamma[i] - mean_g - normalized * mean_gx);
    dgamma[i] += dy[i] * normalized;
    dbeta[i] += dy[i];
  }
}

}  // namespace minima::ops
