/// The heart of the CPU's own products: a few rows and columns of the result, which stay in registers while their products
/// are added up. For use within vectorize().
#pragma once

#include <cmath>

#include "core/cpu/simd.hpp"

namespace minima::ops {

/// An operand of any layout: element (i, j) is at[i · row + j · column]. A transpose swaps the steps.
template <class T>
struct Strided {
  const T* at;
  i64 row, column;
};

/// What a product is added to: rows of `ld`; ld 0: every time the same row; null: nothing.
template <class T>
struct Base {
  const T* at = nullptr;
  i64 ld = 0;
};

/// R rows of W floats, two vector registers each: sums enough to keep both multipliers busy, with registers left for A and B.
template <i64 R, i64 W>
struct Block {
  static constexpr i64 rows = R, columns = W;
};
using Avx2Block = Block<6, 16>;    // 12 sums in 16 registers
using Avx512Block = Block<8, 32>;  // 16 in 32

/// f(the block for this processor).
template <class F>
void with_block(const F& f) {
  if (vector_unit() == VectorUnit::avx512)
    f(Avx512Block{});
  else
    f(Avx2Block{});
}

/// R rows and W columns of C ← base + alpha · A B; the base may be C itself. Every element adds up its products in rising order of
/// p, by fused multiply-adds, so its bits are the same in a block of any shape; depth > 0.
/// A [R, depth], B [depth, W] with rows of `ldb`, C [R, W] with rows of `ldc`.
template <int R, int W, class T>
MINIMA_HD void product_block(i64 depth, T alpha, const Strided<T>& a, const T* b, i64 ldb,
                             Base<T> base, T* c, i64 ldc) {
  T sum[R][W];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    __builtin_prefetch(c + r * ldc, 1);  // needed only when all is added up
    __builtin_prefetch(c + r * ldc + W - 1, 1);
#pragma omp simd
    for (int j = 0; j < W; ++j) sum[r][j] = a.at[r * a.row] * b[j];
  }
#pragma GCC unroll 4
  for (i64 p = 1; p < depth; ++p)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const T x = a.at[r * a.row + p * a.column];
#pragma omp simd
      for (int j = 0; j < W; ++j) sum[r][j] = std::fma(x, b[p * ldb + j], sum[r][j]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    T* const to = c + r * ldc;
    if (base.at) {
      const T* const from = base.at + r * base.ld;
#pragma omp simd
      for (int j = 0; j < W; ++j) to[j] = from[j] + alpha * sum[r][j];
    } else {
#pragma omp simd
      for (int j = 0; j < W; ++j) to[j] = alpha * sum[r][j];
    }
  }
}

/// The same for 1 to R rows, R at most 8.
template <int R, int W, class T>
MINIMA_HD void product_rows(i64 rows, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb,
                            Base<T> base, T* c, i64 ldc) {
  if (rows == R) return product_block<R, W>(depth, alpha, a, b, ldb, base, c, ldc);
  const auto next = [&](i64 n) {
    a.at += n * a.row, c += n * ldc;
    if (base.at) base.at += n * base.ld;
  };
  if (rows & 4) product_block<4, W>(depth, alpha, a, b, ldb, base, c, ldc), next(4);
  if (rows & 2) product_block<2, W>(depth, alpha, a, b, ldb, base, c, ldc), next(2);
  if (rows & 1) product_block<1, W>(depth, alpha, a, b, ldb, base, c, ldc);
}

}  // namespace minima::ops
