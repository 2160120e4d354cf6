/// The rows of softmax and log_softmax and of their gradients (core/ops/softmax.hpp): row r has n elements in each input
/// and in the output.
#pragma once

#include "core/each.hpp"
#include "core/math.hpp"

namespace minima::ops {

template <class T>
struct Softmax {
  i64 n;
  const T* x;
  T* y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const T* const in = x + row * n;
    T* const out = y + row * n;
    const T largest = row_max(team, n, in);
    // A row of nothing but −∞ has no distribution; its exponentials are 0 with any other shift.
    const T shift = largest == -std::numeric_limits<T>::infinity() ? T(0) : largest;
    team.each(n, [=](i64 i) MINIMA_INLINE { out[i] = math::exp(in[i] - shift); });
    const double total = row_sum(team, n, [=](i64 i) MINIMA_INLINE { return out[i]; });
    const T scale = total == 0 ? T(0) : static_cast<T>(1 / total);
    team.each(n, [=](i64 i) MINIMA_INLINE { out[i] *= scale; });
  }
};

template <class T>
struct SoftmaxBackward {
  i64 n;
  const T *dy, *y;
  T* dx;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const T *const g = dy + row * n, *const p = y + row * n;
    T* const out = dx + row * n;
    const T mean =
        static_cast<T>(row_sum(team, n, [=](i64 i) MINIMA_INLINE { return g[i] * p[i]; }));
    team.each(n, [=](i64 i) MINIMA_INLINE { out[i] = p[i] * (g[i] - mean); });
  }
};

template <class T>
struct LogSoftmax {
  i64 n;
  const T* x;
  T* y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const T* const in = x + row * n;
    T* const out = y + row * n;
    const T shift = row_max(team, n, in);
    const double total =
        row_sum(team, n, [=](i64 i) MINIMA_INLINE { return math::exp(in[i] - shift); });
    const T log_total = math::log(static_cast<T>(total));
    team.each(n, [=](i64 i) MINIMA_INLINE { out[i] = in[i] - shift - log_total; });
  }
};

template <class T>
struct LogSoftmaxBackward {
  i64 n;
  const T *dy, *y;
  T* dx;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const T *const g = dy + row * n, *const p = y + row * n;
    T* const out = dx + row * n;
    const T total = static_cast<T>(row_sum(team, n, [=](i64 i) MINIMA_INLINE { return g[i]; }));
    team.each(n, [=](i64 i) MINIMA_INLINE { out[i] = g[i] - math::exp(p[i]) * total; });
  }
};

}  // namespace minima::ops
