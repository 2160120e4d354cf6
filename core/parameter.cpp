#include "core/parameter.hpp"

#include <algorithm>

#include "core/cpu/simd.hpp"
#include "core/ops/elementwise.hpp"

namespace minima {
namespace {

/// a ← a + b, elementwise.
void add_into(Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "gradient: {} cannot be added to {}", b.shape(), a.shape());
  if (a.device() != Device{} || b.device() != Device{}) {
    a = ops::binary<ops::Add>(a, b);
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

/// row ← row + other, for one row of `width` elements.
void add_row(Tensor& to, i64 to_row, const Tensor& from, i64 from_row, i64 width) {
  visit_real("gradient", to.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* a = to.data<T>() + to_row * width;
    const T* b = from.data<T>() + from_row * width;
    for (i64 j = 0; j < width; ++j) a[j] += b[j];
  });
}

void copy_row(Tensor& to, i64 to_row, const Tensor& from, i64 from_row, i64 width) {
  const i64 bytes = width * element_size(to.dtype());
  std::memcpy(to.raw() + to_row * bytes, from.raw() + from_row * bytes,
              static_cast<std::size_t>(bytes));
}

i64 row_width(const Tensor& values) {
  return values.shape().size() / std::max<i64>(values.size(0), 1);
}

Shape with_rows(const Shape& shape, i64 rows) {
  std::vector<i64> sizes(shape.begin(), shape.end());
  sizes[0] = rows;
  return Shape(sizes);
}

/// Whether a row of `values` [n, …] is a row of a tensor of `shape`.
bool rows_fit(const Tensor& values, const Shape& shape) {
  return shape.rank() == values.rank() &&
         std::equal(shape.begin() + 1, shape.end(), values.shape().begin() + 1);
}

/// Throws Error unless the given rows are rows of a value of `shape`.
void check_rows(const Gradient& gradient, const Shape& shape) {
  check(rows_fit(gradient.values(), shape), "gradient: rows of {} for a value of {}",
        gradient.values().shape(), shape);
  for (i64 id : gradient.ids().span<i64>())
    check(id >= 0 && id < shape[0], "gradient: row {} of a value of {}", id, shape);
}

/// The union of two row gradients; where both have a row, the first's values come first in the sum.
Gradient merge(const Gradient& a, const Gradient& b) {
  check(rows_fit(b.values(), a.values().shape()),
        "gradient: rows of {} cannot be added to rows of {}", b.values().shape(),
        a.values().shape());
  std::vector<i64> ids;
  std::ranges::set_union(a.ids().span<i64>(), b.ids().span<i64>(), std::back_inserter(ids));
  Tensor values = Tensor::zeros(with_rows(a.values().shape(), static_cast<i64>(ids.size())),
                                a.values().dtype());
  const i64 width = row_width(values);
  for (const Gradient* part : {&a, &b}) {
    i64 to = 0, from = 0;
    for (i64 id : part->ids().span<i64>()) {
      while (ids[static_cast<std::size_t>(to)] != id) ++to;
      add_row(values, to, part->values(), from++, width);
    }
  }
  return Gradient::rows(Tensor::from(ids), std::move(values));
}

}  // namespace

Gradient Gradient::rows(Tensor ids, Tensor values) {
  check(ids.rank() == 1 && values.rank() >= 1 && ids.size() == values.size(0),
        "gradient: {} row ids for values of {}", ids.shape(), values.shape());
  Gradient result;
  result.kind_ = Kind::rows;
  result.ids_ = std::move(ids);
  result.values_ = std::move(values);
  return result;
}

Tensor& Gradient::mutable_values() {
  if (values_.defined() && !values_.unique()) values_ = values_.clone();
  return values_;
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
    Tensor& dense = mutable_values();
    check_rows(other, dense.shape());
    const i64 width = row_width(other.values_);
    i64 from = 0;
    for (i64 id : other.ids_.span<i64>()) add_row(dense, id, other.values_, from++, width);
  } else {
    add_into(mutable_values(), other.values_);
  }
}

Tensor Gradient::to_dense(const Shape& shape) const {
  check(kind_ != Kind::none, "gradient: there is none to make dense");
  if (kind_ == Kind::dense) return values_;
  check_rows(*this, shape);
  Tensor dense = Tensor::zeros(shape, values_.dtype());
  const i64 width = row_width(values_);
  i64 from = 0;
  for (i64 id : ids_.span<i64>()) copy_row(dense, id, values_, from++, width);
  return dense;
}

}  // namespace minima
