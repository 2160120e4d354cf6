#include "core/ops/dropout.hpp"

#include "core/cpu/simd.hpp"

namespace minima::ops {

Tensor dropout(const Tensor& x, const DropoutSite& site, const Tensor& example_id,
               const Tensor& position) {
  check(site.rate >= 0 && site.rate < 1, "dropout: rate {} must be at least 0 and below 1",
        site.rate);
  check(x.rank() >= 1 && example_id.shape() == Shape{x.size(0)} &&
            position.shape() == example_id.shape(),
        "dropout: x is {}, example ids {}, positions {}; one of each for every row", x.shape(),
        example_id.shape(), position.shape());
  if (site.rate == 0) return x;
  Tensor y = Tensor::empty_like(x);
  const i64 rows = x.size(0), width = rows == 0 ? 0 : x.size() / rows;
  const i64* example = example_id.data<i64>();
  const i64* at = position.data<i64>();
  visit_real("dropout", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_chunks(rows, 16, [&](i64 begin, i64 end) {
      vectorize([&]() MINIMA_INLINE {
        for (i64 row = begin; row < end; ++row) {
          const DropoutRow mask{site.key,
                                static_cast<u64>(at[row]),
                                static_cast<u64>(example[row]),
                                static_cast<u64>(site.step),
                                DropoutRow::threshold_of(site.rate),
                                static_cast<float>(1 / (1 - site.rate))};
          mask.apply(in + row * width, out + row * width, width);
        }
      });
    });
  });
  return y;
}

}  // namespace minima::ops
