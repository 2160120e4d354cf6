/// What stands around the products of core/ops/matmul.hpp.
#pragma once

#include "core/each.hpp"

namespace minima::ops {

/// Each row of `to` [rows, n] becomes `row` [n].
template <class T>
struct RepeatRow {
  i64 n;
  const T* row;
  T* to;
  MINIMA_HD void operator()(i64 k) const { to[k] = row[k % n]; }
};

/// sums [chunks, columns] ← those of the rows of each chunk of x [rows, columns], in order. k counts the sums.
template <class T>
struct AddColumns {
  i64 rows, columns, chunk;
  const T* x;
  T* sums;

  MINIMA_HD void operator()(i64 k) const {
    const i64 first = k / columns * chunk;
    const i64 n = rows - first < chunk ? rows - first : chunk;
    const T* const column = x + first * columns + k % columns;
    constexpr i64 kAtOnce = 16;  // loads under way
    T sum = 0, next[kAtOnce];
    i64 row = 0;
    for (; row + kAtOnce <= n; row += kAtOnce) {
      for (i64 i = 0; i < kAtOnce; ++i) next[i] = column[(row + i) * columns];
      for (i64 i = 0; i < kAtOnce; ++i) sum += next[i];
    }
    for (; row < n; ++row) sum += column[row * columns];
    sums[k] = sum;
  }
};

/// Calls f(chunk) for each time that column_sums adds up chunks of so many of its `rows`, or of the sums before: of 64 rows,
/// and of at most 512 sums one after another; more are added in chunks again, or rounding would grow with their number.
template <class F>
void for_chunks_of_sums(i64 rows, const F& f) {
  constexpr i64 kChunk = 64, kMostSums = 512;
  for (i64 chunk = kChunk;; chunk = rows > kMostSums ? kChunk : kMostSums) {
    f(chunk);
    rows = ceil_div(rows, chunk);
    if (rows <= 1) return;
  }
}

/// y = x wᵀ + bias as one product, of cuBLASLt. False, and nothing is done, where it has none for such types,
/// sizes and addresses.
template <AnyGpu Gpu, class T, class R>
bool linear_at_once(Gpu gpu, i64 rows, i64 out, i64 in, const T* x, const T* w, const R* bias,
                    R* y);
/// The same for dw = dyᵀ x with dbias = the column sums of dy.
template <AnyGpu Gpu, class T, class R>
bool gradients_at_once(Gpu gpu, i64 rows, i64 out, i64 in, const T* dy, const T* x, R* dw,
                       R* dbias);

}  // namespace minima::ops
