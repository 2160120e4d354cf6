#include "core/ops/pool.hpp"

#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/pool_rows.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

void check_offsets(Cpu, const Tensor& offsets, i64 rows) {
  const i64 texts = offsets.size() - 1;
  const i64* offset = offsets.data<i64>();
  check(offset[0] == 0 && offset[texts] == rows,
        "mean_pool: offsets go from {} to {}; they must go from 0 to the {} rows of x", offset[0],
        offset[texts], rows);
  for (i64 b = 0; b < texts; ++b)
    check(offset[b] < offset[b + 1], "mean_pool: text {} goes from {} to {}; it needs a row", b,
          offset[b], offset[b + 1]);
}
template <AnyGpu Gpu>
void check_offsets(Gpu gpu, const Tensor& offsets, i64 rows) {
  note_offsets(gpu, "mean_pool", offsets.size(), offsets.data<i64>(), rows);
}

}  // namespace

Tensor mean_pool(const Tensor& x, const Tensor& offsets) {
  check(x.rank() == 2 && offsets.rank() == 1 && offsets.size() >= 1,
        "mean_pool: x is {}, offsets {}; they must be [T, d] and [B+1]", x.shape(),
        offsets.shape());
  check_together("mean_pool", x, offsets);
  check_i64("mean_pool", "offsets", offsets);
  const i64 texts = offsets.size() - 1;
  Tensor y = Tensor::empty({texts, x.size(1)}, x.dtype(), x.device());
  Tensor sums = Tensor::empty_like(y);
  visit_real("mean_pool", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      check_offsets(device, offsets, x.size(0));
      each_row(device, texts, x.size(0) / std::max<i64>(texts, 1) * x.size(1),
               MeanPool<T>{x.size(0), x.size(1), offsets.data<i64>(), x.data<T>(), sums.data<T>(),
                           y.data<T>()});
    });
  });
  return y;
}

Tensor mean_pool_backward(const Tensor& dy, const Tensor& offsets, i64 rows) {
  check(dy.rank() == 2 && offsets.size() == dy.size(0) + 1,
        "mean_pool: the gradient is {}, offsets {}; they must be [B, d] and [B+1]", dy.shape(),
        offsets.shape());
  check_together("mean_pool", dy, offsets);
  Tensor dx = Tensor::empty({rows, dy.size(1)}, dy.dtype(), dy.device());
  visit_real("mean_pool", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(dy.device(), [&](auto device) {
      check_offsets(device, offsets, rows);
      each_row(
          device, dy.size(0), dx.size() / std::max<i64>(dy.size(0), 1),
          MeanPoolBackward<T>{rows, dy.size(1), offsets.data<i64>(), dy.data<T>(), dx.data<T>()});
    });
  });
  return dx;
}

}  // namespace minima::ops
