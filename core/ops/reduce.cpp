#include "core/ops/reduce.hpp"

#include <algorithm>

#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/reduce_lines.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// y [outer, inner] from x [outer, n, inner]. The n elements are cut into pieces; every piece has
/// its own accumulators, which join in the order of the pieces.
template <class Reduction, class T>
void reduce(Cpu, const Reduction& reduction, const Around& size, const T* x, T* y) {
  using Acc = typename Reduction::template Accumulator<T>;
  const typename Reduction::Merge merge;
  const i64 outer = size.outer, n = size.n, inner = size.inner;
  if (outer * inner == 0) return;
  const i64 piece = inner == 1 ? 1 << 14 : 512;
  const i64 pieces = std::max<i64>(1, ceil_div(n, piece));
  const i64 group = std::max<i64>(1, (1 << 14) / std::max<i64>(1, std::min(n, piece) * inner));
  Tensor storage = Tensor::empty({outer * pieces, inner}, dtype_of<Acc>());
  Acc* accumulators = storage.data<Acc>();

  parallel_chunks(outer * pieces, group, [&](i64 first, i64 last) {
    vectorize([&]() MINIMA_INLINE {
      for (i64 k = first; k < last; ++k) {
        const i64 begin = k % pieces * piece, count = std::min(n - begin, piece);
        const T* from = x + (k / pieces * n + begin) * inner;
        Acc* acc = accumulators + k * inner;
        if (inner == 1) {
          *acc = row_fold(count, Reduction::template start<Acc>(), merge,
                          [from](i64 i) MINIMA_INLINE { return Reduction::of(from[i]); });
          continue;
        }
        for (i64 j = 0; j < inner; ++j) acc[j] = Reduction::template start<Acc>();
        for (i64 i = 0; i < count; ++i)
          for (i64 j = 0; j < inner; ++j)
            acc[j] = merge(acc[j], Reduction::of(from[i * inner + j]));
      }
    });
  });
  parallel_chunks(outer * inner, std::max<i64>(1, (1 << 14) / pieces), [&](i64 first, i64 last) {
    for (i64 k = first; k < last; ++k) {
      const Acc* acc = accumulators + k / inner * pieces * inner + k % inner;
      Acc total = *acc;
      for (i64 p = 1; p < pieces; ++p) total = merge(total, acc[p * inner]);
      y[k] = static_cast<T>(reduction.finish(total));
    }
  });
}

template <AnyGpu Gpu, class Reduction, class T>
void reduce(Gpu gpu, const Reduction& reduction, const Around& size, const T* x, T* y) {
  const i64 outer = size.outer, n = size.n, inner = size.inner;
  if (inner != 1)
    each(gpu, outer * inner, ReduceColumn<Reduction, T>{reduction, n, inner, x, y});
  else
    each_row(gpu, outer, n, ReduceLine<Reduction, T>{reduction, n, inner, x, y});
}

/// Which dimensions are reduced. Throws Error for one that is not there or is named twice.
std::vector<bool> reduced(const char* op, const Shape& shape, const Dims& dims) {
  std::vector<bool> chosen(static_cast<std::size_t>(shape.rank()), dims.empty());
  for (int dim : dims) {
    check(dim >= -shape.rank() && dim < shape.rank(), "{}: {} has no dimension {}", op, shape, dim);
    auto flag = chosen.begin() + shape.axis(dim);
    check(!*flag, "{}: dimension {} is given twice", op, dim);
    *flag = true;
  }
  return chosen;
}

/// How many elements go into one of the result.
i64 reduced_count(const char* op, const Shape& shape, const Dims& dims) {
  i64 count = 1;
  const std::vector<bool> chosen = reduced(op, shape, dims);
  for (int i = 0; i < shape.rank(); ++i)
    if (chosen[static_cast<std::size_t>(i)]) count *= shape[i];
  return count;
}

template <class Reduction>
Tensor reduce_over(const char* op, const Reduction& reduction, const Tensor& x, const Dims& dims,
                   KeepDims keep) {
  check_given(op, x);
  const std::vector<bool> chosen = reduced(op, x.shape(), dims);
  // Where the reduced dimensions lie apart, they are brought to the end first.
  Tensor source = x;
  const auto begin = std::ranges::find(chosen, true);
  const auto end = std::find(chosen.rbegin(), chosen.rend(), true).base();
  Around size(Shape{1, 1, 1}, 1);
  if (begin < end && std::find(begin, end, false) != end) {
    std::vector<int> order;
    for (bool last : {false, true})
      for (int i = 0; i < x.rank(); ++i)
        if (chosen[static_cast<std::size_t>(i)] == last) order.push_back(i);
    source = permute(x, order);
    size.n = reduced_count(op, x.shape(), dims);
    size.outer = size.n == 0 ? reduced_shape(op, x.shape(), dims, keep).size() : x.size() / size.n;
  } else {
    for (int i = 0; i < x.rank(); ++i) {
      const auto at = chosen.begin() + i;
      (at < begin ? size.outer : at < end ? size.n : size.inner) *= x.size(i);
    }
    if (begin >= end) std::swap(size.outer, size.inner);  // nothing reduced: rows of one element
  }
  Tensor y = Tensor::empty(reduced_shape(op, x.shape(), dims, keep), x.dtype(), x.device());
  visit_real(op, x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(),
              [&](auto device) { reduce(device, reduction, size, source.data<T>(), y.data<T>()); });
  });
  return y;
}

/// A reduction's result with its reduced dimensions as 1, so that it broadcasts against the input.
Tensor kept(const Tensor& y, const Shape& x, const Dims& dims) {
  return y.reshape(reduced_shape("reduce", x, dims, KeepDims::yes));
}

void check_not_empty(const char* op, const Shape& shape, const Dims& dims) {
  check(reduced_count(op, shape, dims) > 0, "{}: {} has no elements to choose from", op, shape);
}

}  // namespace

Shape reduced_shape(const char* op, const Shape& shape, const Dims& dims, KeepDims keep) {
  const std::vector<bool> chosen = reduced(op, shape, dims);
  std::vector<i64> sizes;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!chosen[static_cast<std::size_t>(i)])
      sizes.push_back(shape[i]);
    else if (keep == KeepDims::yes)
      sizes.push_back(1);
  }
  return Shape(sizes);
}

Tensor sum(const Tensor& x, const Dims& dims, KeepDims keep, double divisor) {
  return reduce_over("sum", SumOf{divisor}, x, dims, keep);
}

Tensor mean(const Tensor& x, const Dims& dims, KeepDims keep) {
  const auto count = static_cast<double>(reduced_count("mean", x.shape(), dims));
  return reduce_over("mean", SumOf{count}, x, dims, keep);
}

Tensor amax(const Tensor& x, const Dims& dims, KeepDims keep) {
  check_not_empty("amax", x.shape(), dims);
  return reduce_over("amax", MaxOf{}, x, dims, keep);
}

Tensor amin(const Tensor& x, const Dims& dims, KeepDims keep) {
  check_not_empty("amin", x.shape(), dims);
  return reduce_over("amin", MinOf{}, x, dims, keep);
}

static double var_divisor(const Tensor& x, const Dims& dims, i64 correction) {
  return static_cast<double>(std::max(reduced_count("var", x.shape(), dims) - correction, i64{0}));
}

Tensor var(const Tensor& x, const Dims& dims, i64 correction, KeepDims keep) {
  check_given("var", x);
  const double count = var_divisor(x, dims, correction);
  const Tensor centered = binary<Sub>(x, mean(x, dims, KeepDims::yes));
  return reduce_over("var", SumOfSquares{count}, centered, dims, keep);
}

Tensor logsumexp(const Tensor& x, const Dims& dims, KeepDims keep) {
  check_given("logsumexp", x);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (reduced_count("logsumexp", x.shape(), dims) == 0)
    return expand(scalar_like(x, -infinity), reduced_shape("logsumexp", x.shape(), dims, keep));
  // Where all are −∞ (or one is +∞) there is nothing to shift by: ∞ − ∞ is no number.
  const Tensor largest = amax(x, dims, KeepDims::yes);
  const Tensor infinite = binary<Equal>(unary<Abs>(largest), scalar_like(x, infinity));
  const Tensor shift = where(infinite, scalar_like(x, 0), largest);
  const Tensor total = sum(unary<Exp>(binary<Sub>(x, shift)), dims, KeepDims::yes);
  return binary<Add>(shift, unary<Log>(total))
      .reshape(reduced_shape("logsumexp", x.shape(), dims, keep));
}

Tensor norm(const Tensor& x, const Dims& dims, KeepDims keep) {
  return reduce_over("norm", NormOf{}, x, dims, keep);
}

Tensor sum_backward(const Tensor& dy, const Shape& x, const Dims& dims) {
  return expand(kept(dy, x, dims), x);
}

Tensor mean_backward(const Tensor& dy, const Shape& x, const Dims& dims) {
  const auto count = static_cast<double>(reduced_count("mean", x, dims));
  return sum_backward(binary<Div>(dy, scalar_like(dy, count)), x, dims);
}

Tensor extremum_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims) {
  const Tensor chosen = binary<Equal>(x, kept(y, x.shape(), dims));
  const Tensor count = sum(chosen, dims, KeepDims::yes);
  return binary<Mul>(chosen, binary<Div>(kept(dy, x.shape(), dims), count));
}

Tensor var_backward(const Tensor& dy, const Tensor& x, const Dims& dims, i64 correction) {
  const double count = var_divisor(x, dims, correction);
  const Tensor centered = binary<Sub>(x, mean(x, dims, KeepDims::yes));
  const Tensor scale = binary<Mul>(kept(dy, x.shape(), dims), scalar_like(x, 2 / count));
  return binary<Mul>(centered, scale);
}

Tensor logsumexp_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims) {
  // Of numbers that are all −∞ no share is known; 0, not NaN.
  const Tensor least = scalar_like(x, -std::numeric_limits<double>::infinity());
  const Tensor shift = where(binary<Equal>(y, least), scalar_like(x, 0), y);
  const Tensor softmax = unary<Exp>(binary<Sub>(x, kept(shift, x.shape(), dims)));
  return binary<Mul>(softmax, kept(dy, x.shape(), dims));
}

Tensor norm_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Dims& dims) {
  const Tensor length = kept(y, x.shape(), dims), zero = scalar_like(x, 0);
  const Tensor infinity = scalar_like(x, std::numeric_limits<double>::infinity());
  const Tensor direction = binary<Div>(x, where(binary<Equal>(length, zero), infinity, length));
  return binary<Mul>(direction, kept(dy, x.shape(), dims));  // dy / length may overflow
}

namespace {

Tensor running_sum(const Tensor& x, int dim, From from) {
  check_given("cumsum", x);
  check(dim >= -x.rank() && dim < x.rank(), "cumsum: {} has no dimension {}", x.shape(), dim);
  Tensor y = Tensor::empty_like(x);
  visit_real("cumsum", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto [outer, n, inner] = Around(x.shape(), dim);
    const RunningSum<T> sums{from, n, inner, x.data<T>(), y.data<T>()};
    on_device(x.device(),
              [&, lines = outer * inner, n = n](auto device) { each(device, lines, sums, n); });
  });
  return y;
}

}  // namespace

Tensor argmax(const Tensor& x, int dim) {
  check(x.rank() > 0, "argmax: a scalar has no dimension to search");
  check_not_empty("argmax", x.shape(), {dim});
  Tensor best = Tensor::empty(reduced_shape("argmax", x.shape(), {dim}, KeepDims::no), DType::i64,
                              x.device());
  visit_real("argmax", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto [outer, n, inner] = Around(x.shape(), dim);
    const ArgmaxLine<T> line{n, inner, x.data<T>(), best.data<i64>()};
    on_device(x.device(), [&, n = n](auto device) { each(device, best.size(), line, n); });
  });
  return best;
}

Tensor cumsum(const Tensor& x, int dim) { return running_sum(x, dim, From::first); }
Tensor cumsum_backward(const Tensor& dy, int dim) { return running_sum(dy, dim, From::last); }

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Dims dims;
  const int added = x.rank() - shape.rank();
  for (int i = 0; i < x.rank(); ++i)
    if (i < added || (shape[i - added] == 1 && x.size(i) != 1)) dims.push_back(i);
  return (dims.empty() ? x : sum(x, dims)).reshape(shape);
}

}  // namespace minima::ops
