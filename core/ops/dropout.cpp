#include "core/ops/dropout.hpp"

#include "core/on_device.hpp"
#include "core/ops/dropout_rows.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {

DropoutMask::DropoutMask(const char* op, const Shape& x, const DropoutSite& site,
                         const Tensor& example_id, const Tensor& position)
    : site_(site),
      threshold_(DropoutRow::threshold_of(site.rate)),
      scale_(threshold_ == 0 ? 1 : DropoutRow::scale_of(site.rate)) {
  check(site.rate >= 0 && site.rate < 1, "{}: rate {} must be at least 0 and below 1", op,
        site.rate);
  if (site.rate == 0) return;
  check(
      x.rank() >= 1 && example_id.shape() == Shape{x[0]} && position.shape() == example_id.shape(),
      "{}: x is {}, example ids {}, positions {}; one of each for every row", op, x,
      example_id.shape(), position.shape());
  check_i64(op, "example ids", example_id);
  check_i64(op, "positions", position);
  example_ = example_id.data<i64>();
  position_ = position.data<i64>();
}

Tensor dropout(const Tensor& x, const DropoutSite& site, const Tensor& example_id,
               const Tensor& position) {
  const DropoutMask mask("dropout", x.shape(), site, example_id, position);
  if (site.rate == 0) return x;
  check_together("dropout", x, example_id, position);
  const i64 rows = x.size(0), width = rows == 0 ? 0 : x.size() / rows;
  Tensor y = Tensor::empty_like(x);
  visit_real("dropout", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each_row(device, rows, width, DropoutRows<T>{mask, width, x.data<T>(), y.data<T>()});
    });
  });
  return y;
}

}  // namespace minima::ops
