/// The rows of residual_norm (core/ops/residual_norm.hpp) and of its gradient, with arithmetic in T; X is how x and the
/// sum are stored.
#pragma once

#include "core/ops/convert.hpp"
#include "core/ops/dropout_rows.hpp"
#include "core/ops/layer_norm_row.hpp"

namespace minima::ops {

/// A row of numbers that are written twice: as T and as X.
template <class T, class X>
struct StoredTwice {
  struct Element {
    T& wide;
    X& rounded;
    MINIMA_HD void operator=(T value) const {
      wide = value;
      rounded = converted<X>(value);
    }
  };
  T* wide;
  X* rounded;
  MINIMA_HD Element operator[](i64 i) const { return {wide[i], rounded[i]}; }
};

template <class T, class X>
struct ResidualNormForward {
  DropoutMask mask;
  i64 d;
  const X* x;
  const T *residual, *gamma, *beta;
  T eps;
  X* sum;
  T* y;
  X* rounded;  ///< y once more, where X is narrow
  T *mean, *rstd;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const X* const in = x + row * d;
    const T* const from = residual + row * d;
    X* const to = sum + row * d;
    mask.each(team, row, d, [=, scale = mask.template scale<T>()](i64 i, bool kept) MINIMA_INLINE {
      to[i] = converted<X>((kept ? widened(in[i]) * scale : T{0}) + from[i]);
    });
    const auto [average, inverse] = normalize_row(team, d, to, gamma, beta, eps, out(row));
    if (!team.leads()) return;
    mean[row] = average;
    rstd[row] = inverse;
  }
  MINIMA_HD auto out(i64 row) const {
    if constexpr (Narrow<X>)
      return StoredTwice<T, X>{y + row * d, rounded + row * d};
    else
      return y + row * d;
  }
};

/// Of a chunk of rows; dgamma and dbeta [chunks, d] come in as zeros. Without dx, for where it is dresidual.
template <class T, class X>
struct ResidualNormBackward {
  DropoutMask mask;
  i64 rows, d;
  const T* dy;
  const X* sum;
  const T *gamma, *mean, *rstd;
  T* dresidual;
  X* dx;
  T *dgamma, *dbeta;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 chunk) const {
    for (i64 row = chunk * kNormRows; row < rows && row < (chunk + 1) * kNormRows; ++row) {
      T* const of_sum = dresidual + row * d;
      normalize_row_backward<Team, X, T>(team, d, dy + row * d, sum + row * d, gamma,
                                         {mean[row], rstd[row]}, of_sum, dgamma + chunk * d,
                                         dbeta + chunk * d);
      if (!dx) continue;
      X* const to = dx + row * d;
      mask.each(team, row, d,
                [=, scale = mask.template scale<T>()](i64 i, bool kept)
                    MINIMA_INLINE { to[i] = converted<X>(kept ? of_sum[i] * scale : T{0}); });
    }
  }
};

}  // namespace minima::ops
