/// One row of layer norm (core/ops/layer_norm.hpp), for the kernels of the ops that contain it.
#pragma once

#include <cmath>

#include "core/dtype.hpp"
#include "core/each.hpp"
#include "core/math.hpp"

namespace minima::ops {

template <class T>
struct RowMoments {
  T mean, rstd;
};

/// y = (x − mean) · rstd · gamma + beta.   x and y are anything that has numbers by index; x may be stored in two bytes each.
template <class Team, class X, class T, class Y>
MINIMA_HD RowMoments<T> normalize_row(const Team& team, i64 d, const X& row, const T* gamma,
                                      const T* beta, T eps, Y& y) {
  const auto x = [&](auto i) MINIMA_INLINE { return widened(row[i]); };
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
template <class Team, class DY, class X, class Gamma, class T, class DX, class Sum>
MINIMA_HD void normalize_row_backward(const Team& team, i64 d, const DY& dy, const X& x,
                                      const Gamma& gamma, RowMoments<T> moments, DX& dx,
                                      Sum& dgamma, Sum& dbeta) {
  const T mean = moments.mean, rstd = moments.rstd;
  const auto normalized = [&](auto i) MINIMA_INLINE { return (widened(x[i]) - mean) * rstd; };
  const auto g = [&](auto i) MINIMA_INLINE { return dy[i] * gamma[i]; };
  const auto gx = [&](auto i) MINIMA_INLINE { return dy[i] * gamma[i] * normalized(i); };
  const auto sums = row_sums_as<T>(team, d, g, gx);
  const T mean_g = math::quotient(sums.first, static_cast<T>(d)),
          mean_gx = math::quotient(sums.second, static_cast<T>(d));
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
  static constexpr unsigned kHolders = kHeld<T> ? 32 : 0;
  i64 d;
  const T *x, *gamma, *beta;
  T eps;
  T *y, *mean, *rstd;

  i64 held() const { return d; }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    auto out = team.blank(d, y + row * d);
    const auto moments = normalize_row(team, d, team.held(d, x + row * d), gamma, beta, eps, out);
    team.store(d, out);
    if (!team.leads()) return;
    mean[row] = moments.mean;
    rstd[row] = moments.rstd;
  }
};

/// Of a chunk of rows, a row of dgamma and dbeta [chunks, d]. X is how x is stored.
template <class T, class X = T>
struct LayerNormBackward {
  static constexpr unsigned kHolders = kHeld<T> ? 256 : 0;
  i64 rows, d;
  const T* dy;
  const X* x;
  const T *gamma, *mean, *rstd;
  T *dx, *dgamma, *dbeta;

  i64 held() const { return d; }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 chunk) const {
    each_of(team, chunk, [](i64, const auto&) MINIMA_INLINE {});
  }

  /// And then(row, its dx).
  template <class Team, class Then>
  MINIMA_HD void each_of(const Team& team, i64 chunk, const Then& then) const {
    const i64 first = chunk * kNormRows, end = first + kNormRows < rows ? first + kNormRows : rows;
    const auto scale = team.held(d, gamma);
    auto of_gamma = team.blank(d, dgamma + chunk * d), of_beta = team.blank(d, dbeta + chunk * d);
    team.each(d, [&](auto i) MINIMA_INLINE { of_gamma[i] = of_beta[i] = 0; });
    auto next_dy = team.held(d, dy + first * d);
    auto next_x = team.held(d, x + first * d);
    for (i64 row = first; row < end; ++row) {
      const auto own_dy = next_dy;
      const auto own_x = next_x;
      if (row + 1 < end) {  // is read while this one is summed up
        next_dy = team.held(d, dy + (row + 1) * d);
        next_x = team.held(d, x + (row + 1) * d);
      }
      auto result = team.blank(d, dx + row * d);
      normalize_row_backward(team, d, own_dy, own_x, scale, RowMoments<T>{mean[row], rstd[row]},
                             result, of_gamma, of_beta);
      team.store(d, result);
      then(row, result);
    }
    team.store(d, of_gamma);
    team.store(d, of_beta);
  }
};

}  // namespace minima::ops
