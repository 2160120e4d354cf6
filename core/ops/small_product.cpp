#include "core/ops/small_product.hpp"

namespace minima::ops {
namespace {

/// W columns of the result, R rows at a time.
template <int R, int W, class T>
MINIMA_HD void columns(i64 m, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c, i64 ldc,
                       Store store) {
  for (i64 i = 0; i < m; i += R, a.at += R * a.row, c += R * ldc)
    product_rows<R, W>(std::min<i64>(R, m - i), depth, alpha, a, b, ldb,
                       store == Store::add ? Base<T>{c, ldc} : Base<T>{}, c, ldc);
}

}  // namespace

template <class T>
void small_product(i64 m, i64 n, i64 depth, T alpha, Strided<T> a, const T* b, i64 ldb, T* c,
                   i64 ldc, Store store) {
  with_block([&](auto block) {
    vectorize([&]() MINIMA_INLINE {
      constexpr int R = block.rows;
      i64 j = 0;
      const auto as_wide_as = [&](auto width) MINIMA_INLINE {
        for (constexpr int W = width; j + W <= n; j += W)
          columns<R, W>(m, depth, alpha, a, b + j, ldb, c + j, ldc, store);
      };
      if constexpr (block.columns > 16) as_wide_as(std::integral_constant<int, block.columns>{});
      as_wide_as(std::integral_constant<int, 16>{});
      as_wide_as(std::integral_constant<int, 8>{});
      as_wide_as(std::integral_constant<int, 1>{});
    });
  });
}

template void small_product(i64, i64, i64, float, Strided<float>, const float*, i64, float*, i64,
                            Store);
template void small_product(i64, i64, i64, double, Strided<double>, const double*, i64, double*,
                            i64, Store);

}  // namespace minima::ops
