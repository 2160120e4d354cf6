#include "core/ops/layout.hpp"

#include <bit>
#include <numeric>

#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/layout_places.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// Where a tensor's elements lie in another one: element [i, j, …] at offset + i·steps[0] + …
struct Places {
  Shape shape;
  std::vector<i64> steps;
  i64 offset = 0;

  /// The start of the row along the last dimension that holds element `row · shape[-1]`.
  i64 row_start(i64 row) const {
    i64 at = offset;
    for (int axis = shape.rank() - 2; axis >= 0; --axis) {
      at += row % shape[axis] * steps[static_cast<std::size_t>(axis)];
      row /= shape[axis];
    }
    return at;
  }
};

std::vector<i64> contiguous_steps(const Shape& shape) {
  std::vector<i64> steps(static_cast<std::size_t>(shape.rank()));
  i64 step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    steps[static_cast<std::size_t>(axis)] = step;
    step *= shape[axis];
  }
  return steps;
}

/// Calls f with a zero of an unsigned type of that many bytes: moving elements asks for no more.
template <class F>
void visit_width(i64 bytes, const F& f) {
  if (bytes == 8) f(u64{});
  if (bytes == 4) f(u32{});
  if (bytes == 2) f(u16{});
  if (bytes == 1) f(u8{});
}

template <class Bits>
void move(Cpu, Direction direction, const Places& places, Bits* packed, Bits* spread) {
  const i64 columns = places.shape.rank() == 0 ? 1 : places.shape[-1];
  if (places.shape.size() == 0) return;
  const i64 step = places.shape.rank() == 0 ? 1 : places.steps.back();
  parallel_chunks(places.shape.size() / columns, std::max<i64>(1, (1 << 14) / columns),
                  [&](i64 first, i64 last) {
                    for (i64 row = first; row < last; ++row) {
                      Bits* near = packed + row * columns;
                      Bits* far = spread + places.row_start(row);
                      if (direction == Direction::scatter) {
                        for (i64 i = 0; i < columns; ++i) far[i * step] = near[i];
                      } else if (step == 1) {
                        std::copy_n(far, columns, near);
                      } else {
                        for (i64 i = 0; i < columns; ++i) near[i] = far[i * step];
                      }
                    }
                  });
}

template <AnyGpu Gpu, class Bits>
void move(Gpu gpu, Direction direction, const Places& places, Bits* packed, Bits* spread) {
  Move<Bits> move{direction, places.shape.rank(), {}, {}, places.offset, packed, spread};
  std::ranges::copy(places.shape, move.sizes);
  std::ranges::copy(places.steps, move.steps);
  each(gpu, places.shape.size(), move);
}

void move(Direction direction, const Places& places, const Tensor& packed, const Tensor& spread) {
  visit_width(element_size(packed.dtype()), [&](auto zero) {
    using Bits = decltype(zero);
    // A tensor is a handle; which of the two is written follows from the direction.
    auto* near = const_cast<Bits*>(reinterpret_cast<const Bits*>(packed.raw()));
    auto* far = const_cast<Bits*>(reinterpret_cast<const Bits*>(spread.raw()));
    on_device(packed.device(), [&](auto device) { move(device, direction, places, near, far); });
  });
}

Tensor gathered(const Tensor& x, const Places& places) {
  Tensor result = Tensor::empty(places.shape, x.dtype(), x.device());
  move(Direction::gather, places, result, x);
  return result;
}

int checked_axis(const char* op, const Shape& shape, int dim) {
  check(dim >= -shape.rank() && dim < shape.rank(), "{}: {} has no dimension {}", op, shape, dim);
  return shape.axis(dim);
}

void check_range(Cpu, const char* op, const Tensor& ids, i64 size) {
  for (i64 id : ids.span<i64>())
    check(id >= 0 && id < size, "{}: id {} is outside of 0 … {}", op, id, size - 1);
}
template <AnyGpu Gpu>
void check_range(Gpu gpu, const char* op, const Tensor& ids, i64 size) {
  check(size > 0 || ids.size() == 0, "{}: there is nothing to choose from", op);
  note_outside(gpu, op, ids.size(), ids.data<i64>(), size);
}

void check_ids(const char* op, const Tensor& x, const Tensor& ids, i64 size) {
  check_i64(op, "ids", ids);
  check_together(op, x, ids);
  on_device(ids.device(), [&](auto device) { check_range(device, op, ids, size); });
}

Places slice_places(const Shape& x, const Slice& slice) {
  const int axis = checked_axis("slice", x, slice.dim);
  check(slice.step >= 1 && 0 <= slice.begin && slice.begin <= slice.end && slice.end <= x[axis],
        "slice: {} to {} by {} of dimension {} of {}; it must lie within and step forward",
        slice.begin, slice.end, slice.step, slice.dim, x);
  // A longer step takes the first element alone as well, and does not overflow.
  const i64 length = slice.end - slice.begin,
            stride = std::min(slice.step, std::max<i64>(length, 1));
  Places places{x.with(axis, ceil_div(length, stride)), contiguous_steps(x), 0};
  i64& step = places.steps[static_cast<std::size_t>(axis)];
  places.offset = slice.begin * step;
  step *= stride;
  return places;
}

}  // namespace

Tensor transpose(const Tensor& x, int dim0, int dim1) {
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[static_cast<std::size_t>(checked_axis("transpose", x.shape(), dim0))],
            order[static_cast<std::size_t>(checked_axis("transpose", x.shape(), dim1))]);
  return permute(x, order);
}

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  std::vector<bool> seen(static_cast<std::size_t>(x.rank()));
  std::vector<i64> sizes, steps;
  const std::vector<i64> own = contiguous_steps(x.shape());
  for (int dim : order) {
    const auto axis = static_cast<std::size_t>(checked_axis("permute", x.shape(), dim));
    check(!seen[axis], "permute: dimension {} of {} is named twice", dim, x.shape());
    seen[axis] = true;
    sizes.push_back(x.size(dim));
    steps.push_back(own[axis]);
  }
  check(order.size() == seen.size(), "permute: {} dimensions for {}; name each once", order.size(),
        x.shape());
  return gathered(x, {Shape(sizes), steps, 0});
}

std::vector<int> inverse_order(const std::vector<int>& order) {
  const int rank = static_cast<int>(order.size());
  std::vector<int> inverse(order.size());
  for (int i = 0; i < rank; ++i) {
    const int from = order[static_cast<std::size_t>(i)];
    inverse[static_cast<std::size_t>(from < 0 ? from + rank : from)] = i;
  }
  return inverse;
}

Tensor slice(const Tensor& x, const Slice& slice) {
  return gathered(x, slice_places(x.shape(), slice));
}

Tensor slice_backward(const Tensor& dy, const Shape& x, const Slice& slice) {
  const Places places = slice_places(x, slice);
  check_gradient("slice", dy, places.shape);
  const Tensor dx = Tensor::zeros(x, dy.dtype(), dy.device());
  move(Direction::scatter, places, dy, dx);
  return dx;
}

Tensor expand(const Tensor& x, const Shape& shape) {
  const int added = shape.rank() - x.rank();
  std::vector<i64> steps(static_cast<std::size_t>(shape.rank()), 0);
  const std::vector<i64> own = contiguous_steps(x.shape());
  bool fits = added >= 0;
  for (int i = 0; fits && i < x.rank(); ++i) {
    if (x.size(i) == shape[i + added])
      steps[static_cast<std::size_t>(i + added)] = own[static_cast<std::size_t>(i)];
    else
      fits = x.size(i) == 1;
  }
  check(fits, "expand: {} to {}; only dimensions of size 1, and new ones in front, can grow",
        x.shape(), shape);
  return gathered(x, {shape, steps, 0});
}

Tensor cat(const std::vector<Tensor>& parts, int dim) {
  check(!parts.empty(), "cat: there is nothing to join");
  for (const Tensor& part : parts) {
    check(part.defined(), "cat: a part is undefined; it was never given a value");
    check_together("cat", parts[0], part);
  }
  const Shape& first = parts[0].shape();
  const int axis = checked_axis("cat", first, dim);
  i64 total = 0;
  for (const Tensor& part : parts) {
    check(part.dtype() == parts[0].dtype() && part.rank() == first.rank() &&
              part.shape().with(axis, 0) == first.with(axis, 0),
          "cat: {} {} beside {} {} along dimension {}; types and all other sizes must be equal",
          part.shape(), dtype_name(part.dtype()), first, dtype_name(parts[0].dtype()), dim);
    total += part.size(axis);
  }
  Tensor result = Tensor::empty(first.with(axis, total), parts[0].dtype(), parts[0].device());
  i64 begin = 0;
  for (const Tensor& part : parts) {
    const Slice slice{axis, begin, begin + part.size(axis)};
    move(Direction::scatter, slice_places(result.shape(), slice), part, result);
    begin = slice.end;
  }
  return result;
}

Tensor stack(const std::vector<Tensor>& parts, int dim) {
  check(!parts.empty(), "stack: there is nothing to join");
  std::vector<i64> sizes(parts[0].shape().begin(), parts[0].shape().end());
  const int rank = parts[0].rank() + 1;
  check(dim >= -rank && dim < rank, "stack: the result has {} dimensions, no dimension {}", rank,
        dim);
  const int axis = dim < 0 ? dim + rank : dim;
  sizes.insert(sizes.begin() + axis, 1);
  std::vector<Tensor> rows;
  for (const Tensor& part : parts) {
    check(part.shape() == parts[0].shape(), "stack: {} beside {}; shapes must be equal",
          part.shape(), parts[0].shape());
    rows.push_back(part.reshape(Shape(sizes)));
  }
  return cat(rows, axis);
}

namespace {

/// y[o][i] = x[o][ids[i]], rows of `bytes` bytes.
void copy_rows(Cpu, i64 outer, i64 n, i64 m, i64 bytes, const std::byte* x, const i64* ids,
               std::byte* y) {
  if (bytes == 0) return;
  parallel_chunks(outer * m, std::max<i64>(1, (1 << 16) / bytes), [&](i64 first, i64 last) {
    for (i64 k = first; k < last; ++k)
      std::memcpy(y + k * bytes, x + (k / m * n + ids[k % m]) * bytes,
                  static_cast<std::size_t>(bytes));
  });
}

/// dx[o][ids[i]] += dy[o][i], one i after another; tasks are columns, which share nothing.
template <class T>
void add_rows(Cpu, const Around& size, const Tensor& ids, const T* dy, T* dx) {
  check_range(Cpu{}, "index_select", ids, size.n);
  constexpr i64 kColumns = 64;
  const i64 m = ids.size();
  const i64* id = ids.data<i64>();
  const i64 pieces = ceil_div(size.inner, kColumns);
  parallel_for(size.outer * pieces, [&](i64 task) {
    const i64 o = task / pieces, begin = task % pieces * kColumns;
    const i64 count = std::min(kColumns, size.inner - begin);
    for (i64 i = 0; i < m; ++i) {
      T* to = dx + (o * size.n + id[i]) * size.inner + begin;
      const T* from = dy + (o * m + i) * size.inner + begin;
      for (i64 j = 0; j < count; ++j) to[j] += from[j];
    }
  });
}

template <AnyGpu Gpu>
void copy_rows(Gpu gpu, i64 outer, i64 n, i64 m, i64 bytes, const std::byte* x, const i64* ids,
               std::byte* y) {
  const auto select = [&]<class Bits>(Bits) {
    const i64 inner = bytes / static_cast<i64>(sizeof(Bits));
    each(gpu, outer * m * inner,
         SelectRows<Bits>{n, m, inner, reinterpret_cast<const Bits*>(x), ids,
                          reinterpret_cast<Bits*>(y)});
  };
  // As wide as rows are long and lie: a view may begin at any element.
  const auto widths = static_cast<u64>(bytes) | reinterpret_cast<std::uintptr_t>(x) |
                      reinterpret_cast<std::uintptr_t>(y);
  visit_width(i64{1} << std::min(3, std::countr_zero(widths)), select);
}

template <AnyGpu Gpu, class T>
void add_rows(Gpu gpu, const Around& size, const Tensor& ids, const T* dy, T* dx) {
  each(gpu, size.outer * size.inner,
       AddRows<T>{size.n, ids.size(), size.inner, dy, ids.data<i64>(), dx});
}

/// ids, the shape that they select from x, and their range are right for gather and scatter_add.
void check_places(const char* op, const Tensor& x, int dim, const Tensor& ids) {
  const int axis = checked_axis(op, x.shape(), dim);
  check(ids.rank() == x.rank() && ids.shape().with(axis, 0) == x.shape().with(axis, 0),
        "{}: ids are {}, x is {}; but for dimension {} they must have one shape", op, ids.shape(),
        x.shape(), dim);
  check_ids(op, x, ids, x.size(axis));
}

}  // namespace

Tensor index_select(const Tensor& x, int dim, const Tensor& ids) {
  const int axis = checked_axis("index_select", x.shape(), dim);
  check(ids.rank() == 1, "index_select: ids are {}; they must be a list", ids.shape());
  check_ids("index_select", x, ids, x.size(axis));
  return index_select_unchecked(x, axis, ids);
}

Tensor index_select_unchecked(const Tensor& x, int dim, const Tensor& ids) {
  const Around size(x.shape(), dim);
  Tensor y = Tensor::empty(x.shape().with(dim, ids.size()), x.dtype(), x.device());
  on_device(x.device(), [&](auto device) {
    copy_rows(device, size.outer, size.n, ids.size(), size.inner * element_size(x.dtype()), x.raw(),
              ids.data<i64>(), y.raw());
  });
  return y;
}

Tensor index_select_backward(const Tensor& dy, const Shape& x, int dim, const Tensor& ids) {
  check_gradient("index_select", dy, x.with(checked_axis("index_select", x, dim), ids.size()));
  check_together("index_select", dy, ids);
  Tensor dx = Tensor::zeros(x, dy.dtype(), dy.device());
  visit_real("index_select", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(dy.device(), [&](auto device) {
      add_rows(device, Around(x, dim), ids, dy.data<T>(), dx.data<T>());
    });
  });
  return dx;
}

Tensor gather(const Tensor& x, int dim, const Tensor& ids) {
  check_places("gather", x, dim, ids);
  Tensor y = Tensor::empty(ids.shape(), x.dtype(), x.device());
  const Lookup lookup{Around(ids.shape(), dim), Around(x.shape(), dim)};
  visit_width(element_size(x.dtype()), [&](auto zero) {
    using Bits = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each(device, y.size(),
           LookUp<Bits>{lookup, reinterpret_cast<const Bits*>(x.raw()), ids.data<i64>(),
                        reinterpret_cast<Bits*>(y.raw())});
    });
  });
  return y;
}

Tensor scatter_add(const Tensor& x, int dim, const Tensor& ids, const Tensor& src) {
  check_places("scatter_add", x, dim, ids);
  check(
      src.shape() == ids.shape() && src.dtype() == x.dtype(),
      "scatter_add: src is {} {}, ids are {}, x is {}; src must have the shape of ids and the type "
      "of x",
      src.shape(), dtype_name(src.dtype()), ids.shape(), dtype_name(x.dtype()));
  check_together("scatter_add", x, src);
  Tensor y = x.clone();
  const Lookup lookup{Around(ids.shape(), dim), Around(x.shape(), dim)};
  visit_real("scatter_add", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      each(device, lookup.places.outer * lookup.places.inner,
           AddUp<T>{lookup, src.data<T>(), ids.data<i64>(), y.data<T>()}, lookup.places.n);
    });
  });
  return y;
}

}  // namespace minima::ops
