/// One row of layer norm (core/ops/layer_norm.hpp), for the kernels of the ops that contain it.
#pragma once

#include <cmath>

#include "core/dtype.hpp"
#include "core/each.hpp"

namespace minima::ops {

template <class T>
struct RowMoments {
  T mean, rstd;
};

/// y = (x − mean) · rstd · gamma + beta.   x may be stored in two bytes a number; y is anything that takes numbers by index.
template <class Team, class X, class T, class Y>
MINIMA_HD RowMoments<T> normalize_row(const Team& several, i64 d, const X* row, const T* gamma,
                                      const T* beta, T eps, const Y& y) {
  const auto team = several.holding();
  const auto held = team.held(d, row);
  const auto x = [&](auto i) MINIMA_INLINE { return widened(held[i]); };
  // In double: where a row varies little, the mean's rounding is magnified by rstd.
  const T mean =
      row_sum(team, d, [&](auto i) MINIMA_INLINE { return x(i); }) / static_cast<double>(d);
  const auto squared = [&](auto i) MINIMA_INLINE { return (x(i) - mean) * (x(i) - mean); };
  const T variance = row_sum(team, d, squared) / static_cast<double>(d);
  const T rstd = 1 / std::sqrt(variance + eps);
  const auto scale = team.held(d, gamma), shift = team.held(d, beta);
  team.each(d, [&](auto i) MINIMA_INLINE { y[i] = (x(i) - mean) * rstd * scale[i] + shift[i]; });
  return {mean, rstd};
}

/// With x̂ = (x − mean) · rstd and g = dy · gamma:
///
///     dx = rstd · (g − mean(g) − x̂ · mean(g · x̂))      dgamma += dy · x̂      dbeta += dy
template <class Team, class X, class T>
MINIMA_HD void normalize_row_backward(const Team& several, i64 d, const T* dy_row, const X* row,
                                      const T* gamma_row, RowMoments<T> moments, T* dx, T* dgamma,
                                      T* dbeta) {
  const auto team = several.holding();
  const auto dy = team.held(d, dy_row), gamma = team.held(d, gamma_row);
  const auto x = team.held(d, row);
  const T mean = moments.mean, rstd = moments.rstd;
  const auto normalized = [&](auto i) MINIMA_INLINE { return (widened(x[i]) - mean) * rstd; };
  const auto g = [&](auto i) MINIMA_INLINE { return dy[i] * gamma[i]; };
  const auto gx = [&](auto i) MINIMA_INLINE { return dy[i] * gamma[i] * normalized(i); };
  const T mean_g = row_sum_as<T>(team, d, g) / static_cast<T>(d);
  const T mean_gx = row_sum_as<T>(team, d, gx) / static_cast<T>(d);
  team.each(d, [&](auto i) MINIMA_INLINE {
    const T own = normalized(i);
    dx[i] = rstd * (dy[i] * gamma[i] - mean_g - own * mean_gx);
    dgamma[i] += dy[i] * own;
    dbeta[i] += dy[i];
  });
}

inline constexpr i64 kNormRows = 16;  ///< that are added up in one row of [chunks, d] in backward

template <class T>
struct LayerNormForward {
  i64 d;
  const T *x, *gamma, *beta;
  T eps;
  T *y, *mean, *rstd;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const auto moments = normalize_row(team, d, x + row * d, gamma, beta, eps, y + row * d);
    if (!team.leads()) return;
    mean[row] = moments.mean;
    rstd[row] = moments.rstd;
  }
};

/// Of a chunk of rows; dgamma and dbeta [chunks, d] come in as zeros.
template <class T>
struct LayerNormBackward {
  i64 rows, d;
  const T *dy, *x, *gamma, *mean, *rstd;
  T *dx, *dgamma, *dbeta;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 chunk) const {
    for (i64 row = chunk * kNormRows; row < rows && row < (chunk + 1) * kNormRows; ++row)
      normalize_row_backward<Team, T, T>(team, d, dy + row * d, x + row * d, gamma,
                                         {mean[row], rstd[row]}, dx + row * d, dgamma + chunk * d,
                                         dbeta + chunk * d);
  }
};

}  // namespace minima::ops
