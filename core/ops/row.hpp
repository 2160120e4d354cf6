/// Sums and maxima over the elements of a row, in a fixed order that vectorizes: 16 partial results
/// side by side, then merged pairwise. For use inside kernels.
#pragma once

#include <limits>
#include <type_traits>

#include "core/types.hpp"

namespace minima::ops {

inline constexpr i64 kLanes = 16;

struct NothingAhead {
  MINIMA_HD void operator()(i64) const {}
};

/// merge(… merge(merge(start, f(0)), f(16)) …) for each lane, then the lanes merged as a tree.
/// `start` must be neutral: merge(start, x) = x. Before each 16 elements ahead(first of them) may ask for those to come.
template <class Acc, class Merge, class F, class Ahead = NothingAhead>
MINIMA_HD Acc row_fold(i64 n, Acc start, const Merge& merge, const F& f, const Ahead& ahead = {}) {
  Acc lane[kLanes];
  for (Acc& acc : lane) acc = start;
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    ahead(i);
#pragma omp simd  // else GCC unrolls these 16 before it looks for vectors
    for (i64 l = 0; l < kLanes; ++l) lane[l] = merge(lane[l], f(i + l));
  }
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
    return ((x > acc) | (x != x)) ? x : acc;
  }
};
struct Smaller {
  template <class T>
  MINIMA_HD T operator()(T acc, T x) const {
    return ((x < acc) | (x != x)) ? x : acc;
  }
};

/// An offset that is wrong has been refused, or will be (core/cuda/wrong_value.hpp); till then it does no harm.
MINIMA_HD i64 within(i64 offset, i64 n) { return offset < 0 ? 0 : offset > n ? n : offset; }

/// Of a team (core/each.hpp) that leaves rows where they are.
struct InMemory {
  template <class T>
  MINIMA_HD T* held(i64, T* row) const {
    return row;
  }
  template <class T>
  MINIMA_HD T* blank(i64, T* row) const {
    return row;
  }
  template <class T>
  MINIMA_HD void store(i64, const T*) const {}
};

/// A team of one: a thread of the CPU.
struct Alone : InMemory {
  template <class F>
  MINIMA_HD void each(i64 n, const F& f) const {
#pragma omp simd  // rows do not overlap, or are the same one
    for (i64 i = 0; i < n; ++i) f(i);
  }
  template <class Acc, class Merge, class F>
  MINIMA_HD Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    return row_fold(n, start, merge, f);
  }
  MINIMA_HD bool owns(i64) const { return true; }
  MINIMA_HD bool leads() const { return true; }
};

/// Σ f(i), i < n, in double.
template <class Team, class F>
MINIMA_HD double row_sum(const Team& team, i64 n, const F& f) {
  return team.fold(n, 0.0, PlusDouble{}, f);
}
template <class F>
MINIMA_HD double row_sum(i64 n, const F& f) {
  return row_sum(Alone{}, n, f);
}

/// The same in T itself: for short rows where speed decides.
template <class T, class Team, class F>
MINIMA_HD T row_sum_as(const Team& team, i64 n, const F& f) {
  return team.fold(n, T{0}, Plus{}, f);
}
template <class T, class F>
MINIMA_HD T row_sum_as(i64 n, const F& f) {
  return row_sum_as<T>(Alone{}, n, f);
}

/// Σ f(i) and Σ g(i) in T itself; where several threads have to wait for one another, they do so once for both.
template <class T>
struct TwoSums {
  T first, second;
  MINIMA_HD friend TwoSums operator+(TwoSums a, TwoSums b) {
    return {a.first + b.first, a.second + b.second};
  }
};
template <class T, class Team, class F, class G>
MINIMA_HD TwoSums<T> row_sums_as(const Team& team, i64 n, const F& f, const G& g) {
  if constexpr (std::is_same_v<Team, Alone>)
    return {row_sum_as<T>(n, f), row_sum_as<T>(n, g)};
  else
    return team.fold(
        n, TwoSums<T>{}, Plus{}, [&](auto i) __attribute__((always_inline)) {
          return TwoSums<T>{f(i), g(i)};
        });
}

/// max x[i], i < n; −∞ where n is 0.
template <class Team, class T>
MINIMA_HD T row_max(const Team& team, i64 n, const T* x) {
  const auto element = [x](i64 i) __attribute__((always_inline)) { return x[i]; };
  return team.fold(n, -std::numeric_limits<T>::infinity(), Larger{}, element);
}
template <class T>
MINIMA_HD T row_max(i64 n, const T* x) {
  return row_max(Alone{}, n, x);
}

}  // namespace minima::ops
