#include "core/parameter.hpp"

#include <algorithm>

#include "core/cpu/simd.hpp"
#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/embedding_rows.hpp"
#include "core/ops/together.hpp"

namespace minima {
namespace {

/// a ← a + b, elementwise. Narrow ones are added, and stay, in f32.
void add_into(Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "gradient: {} cannot be added to {}", b.shape(), a.shape());
  if (is_narrow(a.dtype()) || is_narrow(b.dtype()) || a.device() != Device{} ||
      b.device() != Device{}) {
    a = ops::binary<ops::Add>(a.to(widened(a.dtype())), b.to(widened(b.dtype())));
    return;
  }
  visit_real("gradient", a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* into = a.data<T>();
    const T* from = b.data<T>();
    vectorize_parallel(a.size(), [=](i64 begin, i64 end) MINIMA_INLINE {
      for (i64 i = begin; i < end; ++i) into[i] += from[i];
    });
  });
}

/// Whether a row of `values` [n, …] is a row of a tensor of `shape`.
bool rows_fit(const Tensor& values, const Shape& shape) {
  return shape.rank() >= 1 && shape.inner() == values.shape().inner();
}

void check_ids(Cpu, const Gradient& rows, const Shape& shape) {
  for (i64 id : rows.ids().span<i64>())
    check(id >= 0 && id < shape[0], "gradient: row {} of a value of {}", id, shape);
}
template <AnyGpu Gpu>
void check_ids(Gpu gpu, const Gradient& rows, const Shape& shape) {
  note_outside(gpu, "gradient: row", rows.ids().size(), rows.ids().data<i64>(), shape[0],
               rows.table_rows());
}

/// The given rows of `dense` ← those + their values, in f32 where it is narrow. Throws Error where it has no such rows.
void add_rows(Tensor& dense, const Gradient& rows) {
  dense = dense.to(widened(dense.dtype()));
  const Tensor &ids = rows.ids(), &values = rows.values();
  check(rows_fit(values, dense.shape()), "gradient: rows of {} for a value of {}", values.shape(),
        dense.shape());
  ops::check_together("gradient", dense, ids, values);
  on_device(dense.device(), [&](auto device) {
    check_ids(device, rows, dense.shape());
    visit_real("gradient", dense.dtype(), [&](auto zero) {
      using T = decltype(zero);
      const i64 width = values.shape().inner().size();
      each_row(
          device, ids.size(), width,
          ops::AddRow<T>{dense.size(0), width, ids.data<i64>(), values.data<T>(), dense.data<T>()});
    });
  });
}

/// The union of two row gradients; where both have a row, the first's values come first in the sum:
/// what an embedding of the ids of both would get.
Gradient merge(const Gradient& a, const Gradient& b) {
  const Shape& shape = a.values().shape();
  check(rows_fit(b.values(), shape), "gradient: rows of {} cannot be added to rows of {}",
        b.values().shape(), shape);
  const Tensor ids = Tensor::stacked({a.ids(), b.ids()});
  const Gradient both = ops::embedding_backward(
      Tensor::stacked({a.values(), b.values()}).reshape({ids.size(), shape.inner().size()}), ids,
      {}, std::min(a.table_rows(), b.table_rows()));
  return Gradient::rows(both.ids(), both.values().reshape(shape.with(0, both.ids().size())),
                        both.table_rows());
}

}  // namespace

Gradient Gradient::rows(Tensor ids, Tensor values, i64 table_rows) {
  check(ids.rank() == 1 && values.rank() >= 1 && ids.size() == values.size(0),
        "gradient: {} row ids for values of {}", ids.shape(), values.shape());
  ops::check_together("gradient", values, ids);
  Gradient result;
  result.kind_ = Kind::rows;
  result.ids_ = std::move(ids);
  result.values_ = std::move(values);
  result.table_rows_ = table_rows;
  return result;
}

Tensor& Gradient::mutable_values() {
  if (values_.defined() && !values_.unique()) values_ = values_.clone();
  return values_;
}

i64 Gradient::bytes() const {
  i64 sum = 0;
  for (const Tensor* part : {&ids_, &values_}) sum += part->defined() ? part->bytes() : 0;
  return sum;
}

void Gradient::unshare() {
  for (Tensor* part : {&ids_, &values_})
    if (part->defined() && !part->unique()) *part = part->clone();
}

void Gradient::add(Gradient other) {
  if (!other) return;
  if (!*this) {
    *this = std::move(other);
    return;
  }
  if (kind_ == Kind::rows && other.kind_ == Kind::rows) {
    *this = merge(*this, other);
  } else if (kind_ == Kind::rows) {
    other.add(std::move(*this));
    *this = std::move(other);
  } else if (other.kind_ == Kind::rows) {
    add_rows(mutable_values(), other);
  } else {
    add_into(mutable_values(), other.values_);
  }
}

bool Gradient::fits(const Shape& shape) const {
  if (kind_ == Kind::none) return true;
  return kind_ == Kind::dense ? values_.shape() == shape : rows_fit(values_, shape);
}

Tensor Gradient::to_dense(const Shape& shape) const {
  check(kind_ != Kind::none, "gradient: there is none to make dense");
  if (kind_ == Kind::dense) return values_;
  Tensor dense = Tensor::zeros(shape, values_.dtype(), values_.device());
  add_rows(dense, *this);
  return dense;
}

}  // namespace minima
