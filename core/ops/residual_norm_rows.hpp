/// The rows of residual_norm (core/ops/residual_norm.hpp) and of its gradient, with arithmetic in T; X is how x and the
/// sum are stored.
#pragma once

#include "core/ops/convert.hpp"
#include "core/ops/dropout_rows.hpp"
#include "core/ops/layer_norm_row.hpp"

namespace minima::ops {

/// Where a number is written twice: as it is and rounded.
template <class T, class X>
struct TwoPlaces {
  MINIMA_HD TwoPlaces(T& wide, X& rounded) : wide(wide), rounded(rounded) {}
  MINIMA_HD void operator=(T value) const {
    wide = value;
    rounded = converted<X>(value);
  }
  T& wide;
  X& rounded;
};

/// A row of such numbers.
template <class Wide, class Rounded>
struct StoredTwice {
  MINIMA_HD StoredTwice(const Wide& wide, const Rounded& rounded) : wide(wide), rounded(rounded) {}
  template <class At>
  MINIMA_HD auto operator[](At i) {
    return TwoPlaces(wide[i], rounded[i]);
  }
  Wide wide;
  Rounded rounded;
};

template <class T, class X>
struct ResidualNormForward {
  static constexpr unsigned kHolders = kHeld<T> ? 32 : 0;
  DropoutMask mask;
  i64 d;
  const X* x;
  const T *residual, *gamma, *beta;
  T eps;
  X* sum;
  T* y;
  X* rounded;  ///< y once more, where X is narrow
  T *mean, *rstd;

  i64 held() const { return d; }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const auto in = team.held(d, x + row * d);
    const auto from = team.held(d, residual + row * d);
    auto to = team.blank(d, sum + row * d);
    mask.each(team, row, d, [&, scale = mask.template scale<T>()](auto i, bool kept) MINIMA_INLINE {
      to[i] = converted<X>((kept ? widened(in[i]) * scale : T{0}) + from[i]);
    });
    team.store(d, to);
    auto out = team.blank(d, y + row * d);
    RowMoments<T> moments;
    if constexpr (Narrow<X>) {
      StoredTwice twice(out, team.blank(d, rounded + row * d));
      moments = normalize_row(team, d, to, gamma, beta, eps, twice);
      team.store(d, twice.wide);
      team.store(d, twice.rounded);
    } else {
      moments = normalize_row(team, d, to, gamma, beta, eps, out);
      team.store(d, out);
    }
    if (!team.leads()) return;
    mean[row] = moments.mean;
    rstd[row] = moments.rstd;
  }
};

/// Of a chunk of rows. Without dx, for where it is dresidual, which the norm calls its dx.
template <class T, class X>
struct ResidualNormBackward {
  static constexpr unsigned kHolders = LayerNormBackward<T, X>::kHolders;
  DropoutMask mask;
  LayerNormBackward<T, X> norm;
  X* dx;

  i64 held() const { return norm.d; }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 chunk) const {
    norm.each_of(team, chunk, [&](i64 row, const auto& of_sum) MINIMA_INLINE {
      if (!dx) return;
      auto to = team.blank(norm.d, dx + row * norm.d);
      mask.each(team, row, norm.d,
                [&, scale = mask.template scale<T>()](auto i, bool kept)
                    MINIMA_INLINE { to[i] = converted<X>(kept ? of_sum[i] * scale : T{0}); });
      team.store(norm.d, to);
    });
  }
};

}  // namespace minima::ops
