/// The texts of mean_pool (core/ops/pool.hpp): row b of the loop is text b.
#pragma once

#include "core/each.hpp"

namespace minima::ops {

template <class T>
struct MeanPool {
  i64 rows, width;
  const i64* offsets;
  const T* x;
  T* y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 b) const {
    T* const mean = y + b * width;
    const i64 begin = within(offsets[b], rows), end = within(offsets[b + 1], rows);
    team.each(width, [=](i64 j) MINIMA_INLINE { mean[j] = T(0); });
    for (i64 i = begin; i < end; ++i) {
      const T* const from = x + i * width;
      team.each(width, [=](i64 j) MINIMA_INLINE { mean[j] += from[j]; });
    }
    const T count = static_cast<T>(end - begin);
    team.each(width, [=](i64 j) MINIMA_INLINE { mean[j] /= count; });
  }
};

template <class T>
struct MeanPoolBackward {
  i64 rows, width;
  const i64* offsets;
  const T* dy;
  T* dx;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 b) const {
    const T* const from = dy + b * width;
    const i64 begin = within(offsets[b], rows), end = within(offsets[b + 1], rows);
    const T count = static_cast<T>(end - begin);
    for (i64 i = begin; i < end; ++i) {
      T* const to = dx + i * width;
      team.each(width, [=](i64 j) MINIMA_INLINE { to[j] = from[j] / count; });
    }
  }
};

}  // namespace minima::ops
