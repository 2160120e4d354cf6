#include "core/ops/matmul.hpp"

#include <algorithm>

#include "core/cpu/blas.hpp"
#include "core/ops/blocked_product.hpp"
#include "core/ops/elementwise_map.hpp"
#include "core/ops/matmul_rows.hpp"
#include "core/ops/operands.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

struct Grid {
  i64 rows, columns;  ///< of a tile
};

/// The tile size for a product of m × n × k: as many tiles as its size deserves, arranged so that
/// the least is packed twice (each row of tiles reads all of B, each column all of A), sides
/// rounded up to what the kernels like.
Grid tile_grid(i64 m, i64 n, i64 k) {
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const i64 tiles = work < 2e5 ? 1 : work < 4e9 ? 4 : 16;
  i64 best_rows = 1;
  for (i64 rows = 1; rows <= tiles; rows *= 2)
    if (rows * n + tiles / rows * m < best_rows * n + tiles / best_rows * m) best_rows = rows;
  const auto side = [](i64 length, i64 parts) { return round_up(ceil_div(length, parts), 16); };
  return {side(m, best_rows), side(n, tiles / best_rows)};
}

Tensor result_of(const Tensor& operand, const Shape& shape, Sums sums) {
  return sums == Sums::rounded ? Tensor::empty(shape, operand.dtype(), operand.device())
                               : product_of(operand, shape);
}

/// Calls f(device, zero of the operands' type, zero of the result's) where x lies.
template <class F>
void visit_product(const char* op, const Tensor& x, Sums sums, const F& f) {
  visit_operands(op, x, [&](auto device, auto zero) {
    if (sums == Sums::rounded)
      f(device, zero, zero);
    else
      f(device, zero, Widened<decltype(zero)>{});
  });
}

/// Whether a product of x is one of widened numbers.
bool is_widened(const Tensor& x) { return x.device() == Device{} && is_narrow(x.dtype()); }
Tensor wide(const Tensor& x) { return x.to(DType::f32); }
/// What was computed of the widened numbers, as it is asked for.
Tensor given(const Tensor& result, const Tensor& operand, Sums sums) {
  return sums == Sums::rounded ? result.to(operand.dtype()) : result;
}

/// y = x wᵀ + bias, or without one where it is null.
template <class T>
void multiply_and_add(Cpu, i64 rows, i64 out, i64 in, const T* x, const T* w, const T* bias, T* y) {
  gemm(1, Factor{x, rows, in}, Factor{w, out, in}.transposed(), 0, y, bias);
}
template <class T, AnyGpu Gpu, class R>
void multiply_and_add(Gpu gpu, i64 rows, i64 out, i64 in, const T* x, const T* w, const R* bias,
                      R* y) {
  if (bias && linear_at_once(gpu, rows, out, in, x, w, bias, y)) return;
  if (bias) each(gpu, rows * out, RepeatRow<R>{out, bias, y});
  gemm(gpu, 1, Factor{x, rows, in}, Factor{w, out, in}.transposed(), bias ? 1 : 0, y);
}

template <class T>
LinearGradients gradients(Cpu, const Tensor& dy, const Tensor& x) {
  return {linear_weight_gradient(dy, x), column_sums(dy)};
}
template <class T, AnyGpu Gpu>
LinearGradients gradients(Gpu gpu, const Tensor& dy, const Tensor& x) {
  using R = Widened<T>;
  const i64 rows = dy.shape().rows(), in = x.size(-1), out = dy.size(-1);
  LinearGradients both{product_of(dy, {out, in}), product_of(dy, {out})};
  if (gradients_at_once(gpu, rows, out, in, dy.data<T>(), x.data<T>(), both.dw.data<R>(),
                        both.dbias.data<R>()))
    return both;
  return {linear_weight_gradient(dy, x), column_sums(dy.to(both.dbias.dtype()))};
}

void require_same_rows(const Tensor& dy, const Tensor& x) {
  check(dy.rank() >= 1 && x.rank() >= 1 && dy.shape().rows() == x.shape().rows(),
        "linear: the gradient is {}, x {}; they must have as many rows", dy.shape(), x.shape());
  check_together("linear", dy, x);
}

/// c [a.rows, b.columns] with rows of `ldc` ← alpha · a b + beta · c, on the calling thread.
template <class T>
void gemm_serial(T alpha, const Factor<T>& a, const Factor<T>& b, T beta, T* c, i64 ldc) {
  const i64 depth = a.columns;
  if constexpr (std::is_same_v<T, float>) {
    if (depth > 0) {
      blas::sgemm(a.transpose == Transpose::yes, b.transpose == Transpose::yes, a.rows, b.columns,
                  depth, alpha, a.at, a.stride, b.at, b.stride, beta, c, ldc);
      return;
    }
  }
  for (i64 i = 0; i < a.rows; ++i) {
    for (i64 j = 0; j < b.columns; ++j) {
      T sum = 0;
      for (i64 p = 0; p < depth; ++p) sum += *a.from(i, p) * *b.from(p, j);
      c[i * ldc + j] = beta == T{0} ? alpha * sum : alpha * sum + beta * c[i * ldc + j];
    }
  }
}

thread_local int tf32_allowances = 0;

/// sums [chunks, columns] ← those of the rows of each chunk of x [rows, columns], in order.
template <class T>
void add_columns(Cpu, i64 chunks, const AddColumns<T>& add) {
  parallel_for(chunks, [&](i64 k) {
    vectorize([&]() MINIMA_INLINE {
      const i64 columns = add.columns, end = std::min(add.rows, (k + 1) * add.chunk);
      T* const to = add.sums + k * columns;
      std::fill_n(to, columns, T{0});
      for (i64 row = k * add.chunk; row < end; ++row) {
        const T* const from = add.x + row * columns;
        for (i64 j = 0; j < columns; ++j) to[j] += from[j];
      }
    });
  });
}
template <AnyGpu Gpu, class T>
void add_columns(Gpu gpu, i64 chunks, const AddColumns<T>& add) {
  each(gpu, chunks * add.columns, add);
}

/// The sum of each chunk of rows: [..., n] → [chunks, n].
Tensor chunk_sums(const Tensor& x, i64 chunk) {
  const i64 rows = x.shape().rows(), columns = x.size(-1);
  Tensor sums =
      Tensor::empty({std::max<i64>(ceil_div(rows, chunk), 1), columns}, x.dtype(), x.device());
  visit_real("column_sums", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(x.device(), [&](auto device) {
      add_columns(device, sums.size(0),
                  AddColumns<T>{rows, columns, chunk, x.data<T>(), sums.data<T>()});
    });
  });
  return sums;
}

}  // namespace

bool products_in_blocks() {
#if defined(__SANITIZE_ADDRESS__)
  return false;  // its plain loops would take minutes
#endif
  return vector_unit() != VectorUnit::base && !blas::chosen_by_user();
}

AllowTf32::AllowTf32() { ++tf32_allowances; }
AllowTf32::~AllowTf32() { --tf32_allowances; }
bool tf32_allowed() { return tf32_allowances > 0; }

template <class T>
void gemm(std::type_identity_t<T> alpha, const Factor<T>& a, const Factor<T>& b,
          std::type_identity_t<T> beta, T* c, const std::type_identity_t<T>* row,
          const OnTile& behind) {
  check_factors(a, b);
  if (a.rows == 0 || b.columns == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (a.columns > 0 && products_in_blocks())
      return blocked_product(alpha, a, b, beta, c, row, behind);
  tiled_product(alpha, a, b, beta, c, row, behind);
}

template <class T>
void tiled_product(T alpha, const Factor<T>& a, const Factor<T>& b, T beta, T* c, const T* row,
                   const OnTile& behind) {
  const i64 m = a.rows, n = b.columns, depth = a.columns;
  const Grid tiles = tile_grid(m, n, depth);
  const i64 down = ceil_div(m, tiles.rows);
  const i64 across = ceil_div(n, tiles.columns);
  parallel_for(down * across, [&](i64 tile) {
    const i64 i = tile / across * tiles.rows, j = tile % across * tiles.columns;
    const i64 height = std::min(tiles.rows, m - i), width = std::min(tiles.columns, n - j);
    const Tile here{i, j, height, width};
    // Before, not behind: OpenBLAS, told to overwrite, would zero C and add as well.
    if (row)
      for (i64 y = i; y < i + height; ++y) std::copy_n(row + j, width, c + y * n + j);
    gemm_serial(alpha, a.part(i, 0, height, depth), b.part(0, j, depth, width), row ? T{1} : beta,
                c + i * n + j, n);
    if (behind) behind(here);
  });
}

template void gemm(float, const Factor<float>&, const Factor<float>&, float, float*, const float*,
                   const OnTile&);
template void gemm(double, const Factor<double>&, const Factor<double>&, double, double*,
                   const double*, const OnTile&);
template void tiled_product(float, const Factor<float>&, const Factor<float>&, float, float*,
                            const float*, const OnTile&);

Tensor matmul(const Tensor& a, const Tensor& b, Transpose ta, Transpose tb, Sums sums) {
  check(a.rank() >= 1 && b.rank() >= 1, "matmul: a is {}, b is {}; a scalar multiplies by mul",
        a.shape(), b.shape());
  check_together("matmul", a, b);
  check_one_type("matmul", {a.dtype(), b.dtype()});
  check((a.rank() > 1 || ta == Transpose::no) && (b.rank() > 1 || tb == Transpose::no),
        "matmul: {} and {}: a vector is not transposed", a.shape(), b.shape());
  if (is_widened(a)) return given(matmul(wide(a), wide(b), ta, tb), a, sums);
  const Tensor left = a.rank() == 1 ? a.reshape({1, a.size()}) : a;
  const Tensor right = b.rank() == 1 ? b.reshape({b.size(), 1}) : b;
  const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
  const i64 m = left.size(at ? -1 : -2), k = left.size(at ? -2 : -1);
  const i64 n = right.size(bt ? -2 : -1), k_right = right.size(bt ? -1 : -2);
  check(k == k_right,
        "matmul: inner dimensions differ: a is {}{}, b is {}{}; {} of a must equal {} of b",
        a.shape(), at ? " (transposed)" : "", b.shape(), bt ? " (transposed)" : "", k, k_right);

  const auto leading = [](const Tensor& x) {
    return Shape(x.shape().sizes().first(static_cast<std::size_t>(x.rank() - 2)));
  };
  const auto batches = common_shape(leading(left), leading(right));
  check(batches.has_value(),
        "matmul: leading dimensions do not broadcast: a is {}, b is {}; before the last two, sizes "
        "must be equal or 1",
        a.shape(), b.shape());
  const Walk<2> walk(*batches, {leading(left), leading(right)});
  std::vector<i64> sizes(batches->begin(), batches->end());
  if (a.rank() > 1) sizes.push_back(m);
  if (b.rank() > 1) sizes.push_back(n);
  Tensor y = result_of(a, Shape(sizes), sums);

  visit_product("matmul", a, sums, [&](auto device, auto zero, auto result) {
    using T = decltype(zero);
    using R = decltype(result);
    for (i64 batch = 0; batch < batches->size(); ++batch) {
      const auto [left_at, right_at] = walk.places(batch);
      gemm(
          device, 1,
          Factor{left.data<T>() + left_at * m * k, left.size(-2), left.size(-1)}.transposed(ta),
          Factor{right.data<T>() + right_at * k * n, right.size(-2), right.size(-1)}.transposed(tb),
          0, y.data<R>() + batch * m * n);
    }
  });
  return y;
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, Sums sums) {
  check(x.rank() >= 1 && w.rank() == 2 && x.size(-1) == w.size(1),
        "linear: x is {}, w is {}; the last size of x must equal the second of w", x.shape(),
        w.shape());
  check_together("linear", x, w, bias);
  check(!bias.defined() || bias.shape() == Shape{w.size(0)},
        "linear: bias is {}, w is {}; the bias must be [{}]", bias.shape(), w.shape(), w.size(0));
  const i64 rows = x.shape().rows(), in = w.size(1), out = w.size(0);
  check_one_type("linear", {x.dtype(), w.dtype()});
  if (bias.defined()) check_one_type("linear", {widened(x.dtype()), widened(bias.dtype())});
  if (is_widened(x)) return given(linear(wide(x), wide(w), bias), x, sums);
  Tensor y = result_of(x, x.shape().with(-1, out), sums);
  visit_product("linear", x, sums, [&](auto device, auto zero, auto result) {
    using T = decltype(zero);
    using R = decltype(result);
    const Tensor added = bias.defined() ? bias.to(y.dtype()) : bias;
    multiply_and_add<T>(device, rows, out, in, x.data<T>(), w.data<T>(),
                        added.defined() ? added.data<R>() : nullptr, y.data<R>());
  });
  return y;
}

Tensor linear_input_gradient(const Tensor& dy, const Tensor& w, Sums sums, Tensor so_far) {
  check(dy.rank() >= 1 && w.rank() == 2 && dy.size(-1) == w.size(0),
        "linear: the gradient is {}, w {}; the last size of the gradient must equal the first of w",
        dy.shape(), w.shape());
  check_together("linear", dy, w, so_far);
  if (is_widened(dy))
    return given(linear_input_gradient(wide(dy), wide(w), Sums::kept, std::move(so_far)), dy, sums);
  const i64 rows = dy.shape().rows(), in = w.size(1), out = w.size(0);
  const Shape shape = dy.shape().with(-1, in);
  const bool adds = so_far.defined();
  check(!adds || (so_far.shape() == shape && sums == Sums::kept),
        "linear: {} cannot be added to {}", shape, so_far.shape());
  Tensor dx = adds ? std::move(so_far) : result_of(dy, shape, sums);
  visit_product("linear", dy, sums, [&](auto device, auto zero, auto result) {
    using T = decltype(zero);
    using R = decltype(result);
    gemm(device, 1, Factor{dy.data<T>(), rows, out}, Factor{w.data<T>(), out, in}, adds ? 1 : 0,
         dx.data<R>());
  });
  return dx;
}

Tensor linear_weight_gradient(const Tensor& dy, const Tensor& x) {
  require_same_rows(dy, x);
  if (is_widened(dy)) return linear_weight_gradient(wide(dy), wide(x));
  const i64 rows = dy.shape().rows(), in = x.size(-1), out = dy.size(-1);
  Tensor dw = product_of(dy, {out, in});
  visit_operands("linear", dy, [&](auto device, auto zero) {
    using T = decltype(zero);
    using R = Widened<T>;
    gemm(device, 1, Factor{dy.data<T>(), rows, out}.transposed(), Factor{x.data<T>(), rows, in}, 0,
         dw.data<R>());
  });
  return dw;
}

LinearGradients linear_gradients(const Tensor& dy, const Tensor& x) {
  require_same_rows(dy, x);
  if (is_widened(dy)) return linear_gradients(wide(dy), wide(x));
  LinearGradients result;
  visit_operands("linear", dy, [&](auto device, auto zero) {
    result = gradients<decltype(zero)>(device, dy, x);
  });
  return result;
}

Tensor column_sums(const Tensor& x) {
  check(x.rank() >= 1, "column_sums: x is {}; it must have rows", x.shape());
  Tensor sums = x;
  for_chunks_of_sums(x.shape().rows(), [&](i64 chunk) { sums = chunk_sums(sums, chunk); });
  return sums.reshape({sums.size(1)});
}

}  // namespace minima::ops
