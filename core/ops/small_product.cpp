#include "core/ops/small_product.hpp"

#include <cmath>

#include "core/cpu/simd.hpp"

namespace minima::ops {
namespace {

/// R rows and W columns of the result, which stay in registers: with 6 × 16 floats, twelve AVX2
/// registers, the sums keep both multipliers busy.
template <int R, int W, class T>
MINIMA_HD void block(i64 depth, T alpha, const Strided<T>& a, const T* b, i64 ldb, T* c, i64 ldc,
                     Store store) {
  T sum[R][W] = {};
  for (i64 p = 0; p < depth; ++p)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const T x = a.at[r * a.row + p * a.column];
#pragma omp simd
      for (int j = 0; j < W; ++j) sum[r][j] = std::fma(x, b[p * ldb + j], sum[r][j]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    T* const to = c + r * ldc;
    if (store == Store::add) {
#pragma omp simd
      for (int j = 0; j < W; ++j) to[j] += alpha * sum[r][j];
    } else {
#pragma omp simd
      for (int j = 0; j < W; ++j) to[j] = alpha * sum[r][j];
    }
  }
}

/// W columns of the result: rows by sixes, the rest one by one.
template <int W, class T>
MINIMA_HD void columns(i64 m, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c, i64 ldc,
                       Store store) {
  constexpr int R = 6;
  i64 i = 0;
  for (; i + R <= m; i += R, a.at += R * a.row, c += R * ldc)
    block<R, W>(depth, alpha, a, b, ldb, c, ldc, store);
  for (; i < m; ++i, a.at += a.row, c += ldc) block<1, W>(depth, alpha, a, b, ldb, c, ldc, store);
}

}  // namespace

template <class T>
void small_product(i64 m, i64 n, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c,
                   i64 ldc, Store store) {
  vectorize([&]() MINIMA_INLINE {
    i64 j = 0;
    for (; j + 16 <= n; j += 16) columns<16>(m, depth, alpha, a, b + j, ldb, c + j, ldc, store);
    for (; j + 8 <= n; j += 8) columns<8>(m, depth, alpha, a, b + j, ldb, c + j, ldc, store);
    for (; j < n; ++j) columns<1>(m, depth, alpha, a, b + j, ldb, c + j, ldc, store);
  });
}

template void small_product(i64, i64, i64, float, Strided<float>, const float*, i64, float*, i64,
                            Store);
template void small_product(i64, i64, i64, double, Strided<double>, const double*, i64, double*,
                            i64, Store);

}  // namespace minima::ops
