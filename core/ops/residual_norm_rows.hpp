/// The rows of residual_norm (core/ops/residual_norm.hpp) and of its gradient.
#pragma once

#include "core/ops/dropout_rows.hpp"
#include "core/ops/layer_norm_row.hpp"

namespace minima::ops {

template <class T>
struct ResidualNormForward {
  DropoutMask mask;
  i64 d;
  const T *x, *residual, *gamma, *beta;
  T eps;
  T *sum, *y, *mean, *rstd;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    T* const to = sum + row * d;
    const T* const from = residual + row * d;
    mask.apply(team, row, x + row * d, to, d);
    team.each(d, [=](i64 i) MINIMA_INLINE { to[i] += from[i]; });
    const auto moments = normalize_row(team, d, to, gamma, beta, eps, y + row * d);
    if (!team.leads()) return;
    mean[row] = moments.mean;
    rstd[row] = moments.rstd;
  }
};

/// Of a chunk of rows; dgamma and dbeta [chunks, d] come in as zeros. Where nothing is dropped, dx is dresidual.
template <class T>
struct ResidualNormBackward {
  DropoutMask mask;
  i64 rows, d;
  const T *dy, *sum, *gamma, *mean, *rstd;
  T *dresidual, *dx, *dgamma, *dbeta;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 chunk) const {
    for (i64 row = chunk * kNormRows; row < rows && row < (chunk + 1) * kNormRows; ++row) {
      T* const to = dresidual + row * d;
      normalize_row_backward<Team, T>(team, d, dy + row * d, sum + row * d, gamma,
                                      {mean[row], rstd[row]}, to, dgamma + chunk * d,
                                      dbeta + chunk * d);
      if (dx != dresidual) mask.apply(team, row, to, dx + row * d, d);
    }
  }
};

}  // namespace minima::ops
