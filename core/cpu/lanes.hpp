/// Reductions that vectorize with a fixed order: 16 running values, then those in order, then the
/// rest. Floating-point addition is not associative, so the compiler may not do this by itself; and
/// the order must not depend on the unit.
#pragma once

#include "core/types.hpp"

namespace minima {

inline constexpr i64 kLanes = 16;

/// Σ f(i) for i < n.
template <class T, class F>
MINIMA_HD T sum_of(i64 n, const F& f) {
  T lane[kLanes] = {};
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (i64 l = 0; l < kLanes; ++l) lane[l] += f(i + l);
  T sum = 0;
  for (i64 l = 0; l < kLanes; ++l) sum += lane[l];
  for (; i < n; ++i) sum += f(i);
  return sum;
}

/// max f(i) for i < n, and `least` where all are below it. A NaN is passed over.
template <class T, class F>
MINIMA_HD T max_of(i64 n, T least, const F& f) {
  T lane[kLanes];
  for (i64 l = 0; l < kLanes; ++l) lane[l] = least;
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (i64 l = 0; l < kLanes; ++l) lane[l] = f(i + l) > lane[l] ? f(i + l) : lane[l];
  for (i64 l = 0; l < kLanes; ++l) least = lane[l] > least ? lane[l] : least;
  for (; i < n; ++i) least = f(i) > least ? f(i) : least;
  return least;
}

}  // namespace minima
