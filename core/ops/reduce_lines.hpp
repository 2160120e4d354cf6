/// What the reductions and scans (core/ops/reduce.hpp) do along one dimension.
#pragma once

#include <cmath>

#include "core/each.hpp"
#include "core/ops/reduce.hpp"

namespace minima::ops {

// A reduction: its accumulator, the neutral start, what an element brings, how that or another
// accumulator joins, and the result.
struct SumOf {
  using Merge = PlusDouble;
  template <class T>
  using Accumulator = double;
  template <class T>
  MINIMA_HD static T start() {
    return 0;
  }
  template <class T>
  MINIMA_HD static double of(T x) {
    return static_cast<double>(x);
  }
  double divisor = 1;
  MINIMA_HD double finish(double acc) const { return acc / divisor; }
};
struct SumOfSquares : SumOf {
  template <class T>
  MINIMA_HD static double of(T x) {
    return static_cast<double>(x) * static_cast<double>(x);
  }
};
struct NormOf : SumOfSquares {
  MINIMA_HD double finish(double acc) const { return std::sqrt(acc); }
};
struct MaxOf {
  using Merge = Larger;
  template <class T>
  using Accumulator = T;
  template <class T>
  MINIMA_HD static T start() {
    return -std::numeric_limits<T>::infinity();
  }
  template <class T>
  MINIMA_HD static T of(T x) {
    return x;
  }
  template <class T>
  MINIMA_HD T finish(T acc) const {
    return acc;
  }
};
struct MinOf : MaxOf {
  using Merge = Smaller;
  template <class T>
  MINIMA_HD static T start() {
    return std::numeric_limits<T>::infinity();
  }
};

/// Where line k of [outer, n, inner] begins; its elements lie `inner` apart.
MINIMA_HD i64 line_start(i64 k, i64 n, i64 inner) { return k / inner * n * inner + k % inner; }

/// y [outer, inner] from x [outer, n, inner]; row k is one of the outer · inner results. On the CPU reduce() of
/// core/ops/reduce.cpp does it in pieces.
template <class Reduction, class T>
struct ReduceLine {
  Reduction reduction;
  i64 n, inner;
  const T* x;
  T* y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 k) const {
    using Acc = typename Reduction::template Accumulator<T>;
    const T* const from = x + line_start(k, n, inner);
    const Acc total = team.fold(n, Reduction::template start<Acc>(), typename Reduction::Merge{},
                                [from, step = inner](i64 i)
                                    MINIMA_INLINE { return Reduction::of(from[i * step]); });
    if (team.leads()) y[k] = static_cast<T>(reduction.finish(total));
  }
};

/// The same for one thread, which adds up its line in order: neighbours read neighbours where inner > 1.
template <class Reduction, class T>
struct ReduceColumn {
  Reduction reduction;
  i64 n, inner;
  const T* x;
  T* y;

  MINIMA_HD void operator()(i64 k) const {
    using Acc = typename Reduction::template Accumulator<T>;
    const typename Reduction::Merge merge;
    const T* const from = x + line_start(k, n, inner);
    Acc total = Reduction::template start<Acc>();
    for (i64 i = 0; i < n; ++i) total = merge(total, Reduction::of(from[i * inner]));
    y[k] = static_cast<T>(reduction.finish(total));
  }
};

/// The place of the largest of each line of n elements, `inner` apart.
template <class T>
struct ArgmaxLine {
  i64 n, inner;
  const T* x;
  i64* best;

  MINIMA_HD void operator()(i64 line) const {
    const T* const at = x + line_start(line, n, inner);
    i64 found = 0;
    for (i64 i = 1; i < n; ++i) {
      const T value = at[i * inner], largest = at[found * inner];
      if (value > largest || (value != value && largest == largest)) found = i;
    }
    best[line] = found;
  }
};

/// Running sums from each line's first element on, or from its last one back.
enum class From { first, last };
template <class T>
struct RunningSum {
  From from;
  i64 n, inner;
  const T* x;
  T* y;

  MINIMA_HD void operator()(i64 line) const {
    const i64 first = line_start(line, n, inner);
    double total = 0;
    for (i64 i = 0; i < n; ++i) {
      const i64 at = first + (from == From::first ? i : n - 1 - i) * inner;
      total += static_cast<double>(x[at]);
      y[at] = static_cast<T>(total);
    }
  }
};

}  // namespace minima::ops
