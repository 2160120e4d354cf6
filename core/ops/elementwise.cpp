#include "core/ops/elementwise.hpp"

#include <tuple>

#include "core/on_device.hpp"
#include "core/ops/elementwise_map.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

constexpr i64 kBlock = 512;     // a repeated operand is spread over a buffer of so many elements
constexpr i64 kTask = 1 << 14;  // elements

/// out[i] = op(in[0][i], …) for count elements.
template <class T, std::size_t N>
using Run = void (*)(i64 count, T* out, const Operands<T, N>& in);

/// The one loop of the elementwise ops.
template <class Op, class T, std::size_t N>
void run(i64 count, T* out, const Operands<T, N>& in) {
  const T *const x = in[0], *const y = in[N > 1 ? 1 : 0], *const z = in[N > 2 ? 2 : 0];
  const auto loop = [=]() MINIMA_INLINE {
    for (i64 i = 0; i < count; ++i) {
      if constexpr (N == 1) out[i] = Op{}(x[i]);
      if constexpr (N == 2) out[i] = Op{}(x[i], y[i]);
      if constexpr (N == 3) out[i] = Op{}(x[i], y[i], z[i]);
    }
  };
  if constexpr (std::is_same_v<T, float>)
    vectorize(loop);
  else
    loop();
}

/// Calls run on stretches of the result and of the operands beside it. A task is a few whole rows
/// of the walk, or a piece of a long one. An operand that is repeated along the rows is spread over
/// a buffer first, so that there is one kind of inner loop.
template <class T, std::size_t N>
void walk_through(const Walk<N>& walk, T* out, const Operands<T, N>& in, Run<T, N> run) {
  const i64 columns = walk.sizes[walk.rank - 1];
  i64 rows = 1;
  for (int axis = 0; axis + 1 < walk.rank; ++axis) rows *= walk.sizes[axis];
  if (rows * columns == 0) return;
  std::array<bool, N> repeated;
  for (std::size_t k = 0; k < N; ++k) repeated[k] = walk.steps[k][walk.rank - 1] == 0;
  const i64 block = std::ranges::find(repeated, true) == repeated.end() ? kTask : kBlock;
  const i64 piece = std::min(columns, kTask), pieces = ceil_div(columns, piece);
  const i64 group = std::max<i64>(1, kTask / columns);

  parallel_for(ceil_div(rows, group) * pieces, [&](i64 task) {
    const i64 first = task / pieces * group, last = std::min(rows, first + group);
    const i64 begin = task % pieces * piece, end = std::min(columns, begin + piece);
    T spread[N][kBlock];
    Operands<T, N> spread_from{};
    for (i64 row = first; row < last; ++row) {
      Operands<T, N> start = in;
      const auto places = walk.places(row * columns);
      for (std::size_t k = 0; k < N; ++k) {
        start[k] += places[k];
        if (!repeated[k] || spread_from[k] == start[k]) continue;
        std::fill_n(spread[k], std::min(kBlock, end - begin), *start[k]);
        spread_from[k] = start[k];
      }
      for (i64 at = begin; at < end; at += block) {
        Operands<T, N> here;
        for (std::size_t k = 0; k < N; ++k) here[k] = repeated[k] ? spread[k] : start[k] + at;
        run(std::min(block, end - at), out + row * columns + at, here);
      }
    }
  });
}

template <class Op, class T, std::size_t N>
void map(Cpu, const Map<Op, T, N>& map, i64) {
  walk_through<T, N>(map.walk, map.out, map.in, run<Op, T, N>);
}
template <AnyGpu Gpu, class Op, class T, std::size_t N>
void map(Gpu gpu, const Map<Op, T, N>& map, i64 size) {
  each(gpu, size, map);
}

/// A new tensor of `shape` with Op of the operands' elements; they have one type and broadcast to
/// it.
template <class Op, class... Others>
Tensor mapped(const char* name, Op, const Shape& shape, const Tensor& first,
              const Others&... others) {
  check_given(name, first, others...);
  for (const Tensor* other : std::initializer_list<const Tensor*>{&others...})
    check(other->dtype() == first.dtype() && other->device() == first.device(),
          "{}: operands are {} on {} and {} on {}; they must agree", name,
          dtype_name(first.dtype()), to_string(first.device()), dtype_name(other->dtype()),
          to_string(other->device()));
  Tensor result = Tensor::empty(shape, first.dtype(), first.device());
  visit_real(name, first.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr std::size_t n = 1 + sizeof...(others);
    const Walk<n> walk(shape, {first.shape(), others.shape()...});
    on_device(first.device(), [&](auto device) {
      map(device,
          Map<Op, T, n>{walk, result.data<T>(), {first.data<T>(), others.template data<T>()...}},
          result.size());
    });
  });
  return result;
}

}  // namespace

std::optional<Shape> common_shape(const Shape& a, const Shape& b) {
  std::array<i64, Shape::kMaxRank> sizes{};
  const int rank = std::max(a.rank(), b.rank());
  for (int axis = -1; axis >= -rank; --axis) {
    const i64 m = -axis <= a.rank() ? a[axis] : 1, n = -axis <= b.rank() ? b[axis] : 1;
    if (m != n && m != 1 && n != 1) return {};
    sizes[static_cast<std::size_t>(rank + axis)] = m == 1 ? n : m;
  }
  return Shape(std::span<const i64>(sizes.data(), static_cast<std::size_t>(rank)));
}

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  const auto shape = common_shape(a, b);
  check(shape.has_value(),
        "{}: {} and {} do not broadcast; counted from the last dimension, sizes must be equal or 1",
        op, a, b);
  return *shape;
}

template <class Op>
Tensor unary(const Tensor& x) {
  return mapped(Op::name, Op{}, x.shape(), x);
}

template <class Op>
Tensor unary_backward(const Tensor& dy, const Tensor& kept) {
  check_gradient(Op::name, dy, kept.shape());
  return mapped(Op::name, Derivative<Op>{}, kept.shape(), dy, kept);
}

template <class Op>
Tensor binary(const Tensor& a, const Tensor& b) {
  check_given(Op::name, a, b);  // before their shapes, which would not fit either
  return mapped(Op::name, Op{}, broadcast_shape(Op::name, a.shape(), b.shape()), a, b);
}

template <class Op>
Tensor binary_backward_a(const Tensor& dy, const Tensor& a, const Tensor& b) {
  check_gradient(Op::name, dy, broadcast_shape(Op::name, a.shape(), b.shape()));
  return sum_to(mapped(Op::name, PartialA<Op>{}, dy.shape(), dy, a, b), a.shape());
}

template <class Op>
Tensor binary_backward_b(const Tensor& dy, const Tensor& a, const Tensor& b) {
  check_gradient(Op::name, dy, broadcast_shape(Op::name, a.shape(), b.shape()));
  return sum_to(mapped(Op::name, PartialB<Op>{}, dy.shape(), dy, a, b), b.shape());
}

Tensor where(const Tensor& any_condition, const Tensor& a, const Tensor& b) {
  check_given("where", any_condition, a, b);
  const Shape shape = broadcast_shape("where", any_condition.shape(),
                                      broadcast_shape("where", a.shape(), b.shape()));
  const Tensor condition = any_condition.to(widened(any_condition.dtype()));
  // As 0 or 1 first: a small number may become 0 in another type.
  const bool narrows = is_float(condition.dtype()) && condition.dtype() != a.dtype();
  const auto is_zero = [](const Tensor& x) { return binary<Equal>(x, scalar_like(x, 0)); };
  const Tensor chosen = narrows ? is_zero(is_zero(condition)) : condition;
  return mapped("where", Where{}, shape, chosen.to(a.dtype()), a, b);
}

namespace {

// Taking a template's address makes the compiler write it out, for other files to link with.
template <class... Ops>
constexpr auto unary_functions(OpList<Ops...>) {
  return std::tuple{&unary<Ops>..., &unary_backward<Ops>...};
}
template <class... Ops>
constexpr auto binary_functions(OpList<Ops...>) {
  return std::tuple{&binary<Ops>...};
}
template <class... Ops>
constexpr auto binary_backward_functions(OpList<Ops...>) {
  return std::tuple{&binary_backward_a<Ops>..., &binary_backward_b<Ops>...};
}

[[gnu::used]] const auto kWrittenOut = std::tuple{
    unary_functions(UnaryOps{}), binary_functions(BinaryOps{}),
    binary_functions(BinaryOpsWithoutBackward{}), binary_backward_functions(BinaryOps{})};

}  // namespace
}  // namespace minima::ops
