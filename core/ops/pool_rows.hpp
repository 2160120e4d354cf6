/// The texts of mean_pool (core/ops/pool.hpp): row b of the loop is text b.
#pragma once

#include "core/each.hpp"

namespace minima::ops {

/// Rows that are added up at a time: one after another, the rounding of so many would grow with their number.
inline constexpr i64 kPoolRows = 512;

/// `sums` [B, d] holds those of the rows at hand.
template <class T>
struct MeanPool {
  i64 rows, width;
  const i64* offsets;
  const T* x;
  T *sums, *y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 b) const {
    T* const mean = y + b * width;
    const i64 begin = within(offsets[b], rows), end = within(offsets[b + 1], rows);
    T* const sum = sums + b * width;
    team.each(width, [=](i64 j) MINIMA_INLINE { mean[j] = T(0); });
    for (i64 first = begin; first < end; first += kPoolRows) {
      const i64 last = first + kPoolRows < end ? first + kPoolRows : end;
      team.each(width, [=](i64 j) MINIMA_INLINE { sum[j] = T(0); });
      for (i64 i = first; i < last; ++i) {
        const T* const from = x + i * width;
        team.each(width, [=](i64 j) MINIMA_INLINE { sum[j] += from[j]; });
      }
      team.each(width, [=](i64 j) MINIMA_INLINE { mean[j] += sum[j]; });
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
