#include "core/ops/small_product.hpp"

#include "core/cpu/simd.hpp"

namespace minima::ops {
namespace {

/// W columns of the result.
template <int W, class T>
MINIMA_HD void columns(i64 m, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c, i64 ldc,
                       Store store) {
  for (i64 i = 0; i < m; i += kBlockRows, a.at += kBlockRows * a.row, c += kBlockRows * ldc)
    product_rows<W>(std::min(kBlockRows, m - i), depth, alpha, a, b, ldb,
                    store == Store::add ? Base<T>{c, ldc} : Base<T>{}, c, ldc);
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
