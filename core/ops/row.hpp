/// Sums and maxima over the elements of a row, in a fixed order that vectorizes: 16 partial results
/// side by side, then merged pairwise. For use inside kernels.
#pragma once

#include <limits>

#include "core/types.hpp"

namespace minima::ops {

inline constexpr i64 kLanes = 16;

/// merge(… merge(merge(start, f(0)), f(16)) …) for each lane, then the lanes merged as a tree.
/// `start` must be neutral: merge(start, x) = x.
template <class Acc, class Merge, class F>
MINIMA_HD Acc row_fold(i64 n, Acc start, const Merge& merge, const F& f) {
  Acc lane[kLanes];
  for (Acc& acc : lane) acc = start;
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
#pragma omp simd  // else GCC unrolls these 16 before it looks for vectors
    for (i64 l = 0; l < kLanes; ++l) lane[l] = merge(lane[l], f(i + l));
  for (i64 l = 0; i + l < n; ++l) lane[l] = merge(lane[l], f(i + l));
  for (i64 width = kLanes / 2; width > 0; width /= 2)
    for (i64 l = 0; l < width; ++l) lane[l] = merge(lane[l], lane[l + width]);
  return lane[0];
}

struct Plus {
  template <class T>
  MINIMA_HD T operator()(T acc, T x) const {
    return acc + x;
  }
};
struct PlusDouble {
  template <class T>
  MINIMA_HD double operator()(double acc, T x) const {
    return acc + static_cast<double>(x);
  }
};
/// NaN wins: once in the accumulator it stays, for no comparison with it is true.
struct Larger {
  template <class T>
  MINIMA_HD T operator()(T acc, T x) const {
    return (x > acc) | (x != x) ? x : acc;
  }
};
struct Smaller {
  template <class T>
  MINIMA_HD T operator()(T acc, T x) const {
    return (x < acc) | (x != x) ? x : acc;
  }
};

/// Σ f(i), i < n, in double.
template <class F>
MINIMA_HD double row_sum(i64 n, const F& f) {
  return row_fold(n, 0.0, PlusDouble{}, f);
}

/// The same in T itself: for short rows where speed decides.
template <class T, class F>
MINIMA_HD T row_sum_as(i64 n, const F& f) {
  return row_fold(n, T{0}, Plus{}, f);
}

/// max x[i], i < n; −∞ where n is 0.
template <class T>
MINIMA_HD T row_max(i64 n, const T* x) {
  const auto element = [x](i64 i) __attribute__((always_inline)) { return x[i]; };
  return row_fold(n, -std::numeric_limits<T>::infinity(), Larger{}, element);
}

}  // namespace minima::ops
