/// Matrix products.
///
/// The bits of a product do not depend on the number of threads, and all cores are busy also for small ones. On processors
/// with AVX2 or AVX-512 a product of f32 is made in blocks (core/ops/blocked_product.hpp), on both with the same bits. Elsewhere
/// it is cut into a grid of tiles that depends on its shape alone, each one single-threaded call of OpenBLAS, whose own
/// threading would change bits. f64 has a plain loop.
#pragma once

#include <functional>
#include <type_traits>

#include "core/tensor.hpp"

namespace minima::ops {

enum class Transpose { no, yes };

/// A factor of a product: a matrix in memory, row by row, or the transpose of one.
///
///     gemm(1, Factor{x, rows, in}, Factor{w, out, in}.transposed(), 0, y);      // y = x wᵀ
template <class T>
struct Factor {
  const T* at;
  i64 rows, columns;
  i64 stride;  ///< the length of a row in memory
  Transpose transpose = Transpose::no;

  Factor(const T* at, i64 rows, i64 columns) : Factor(at, rows, columns, columns) {}
  /// A part of a wider matrix.
  Factor(const T* at, i64 rows, i64 columns, i64 stride)
      : at(at), rows(rows), columns(columns), stride(stride) {}

  Factor transposed(Transpose wanted = Transpose::yes) const {
    if (wanted == Transpose::no) return *this;
    Factor other(at, columns, rows, stride);
    other.transpose = transpose == Transpose::yes ? Transpose::no : Transpose::yes;
    return other;
  }
  /// Element (i, j), and what follows it in memory.
  const T* from(i64 i, i64 j) const {
    return transpose == Transpose::yes ? at + j * stride + i : at + i * stride + j;
  }
  /// Rows and columns of it, from (row, column) on.
  Factor part(i64 row, i64 column, i64 height, i64 width) const {
    Factor other = *this;
    other.at = from(row, column), other.rows = height, other.columns = width;
    return other;
  }
};

template <class T>
void check_factors(const Factor<T>& a, const Factor<T>& b) {
  check(a.columns == b.rows, "gemm: factors of {} x {} and {} x {}", a.rows, a.columns, b.rows,
        b.columns);
}

/// A part of C: rows row … row + height − 1, columns column … column + width − 1.
struct Tile {
  i64 row, column, height, width;
};
/// What the thread that computes a tile does behind it, while the tile is in cache. It makes no product itself.
using OnTile = std::function<void(const Tile&)>;

/// Whether products of f32 are made in blocks: with AVX2 or AVX-512, unless the user has chosen an OpenBLAS (MINIMA_BLAS) or
/// one of its kernels (OPENBLAS_CORETYPE); not under the address sanitizer.
bool products_in_blocks();

/// c ← alpha · a b + beta · c, on all threads; c is [a.rows, b.columns]. With a `row` of c, which is then the base instead of
/// beta · c, each row of c is that plus the product's. With beta = 0 or a row, c is not read. Throws Error
/// unless a.columns is b.rows.
template <class T>
void gemm(std::type_identity_t<T> alpha, const Factor<T>& a, const Factor<T>& b,
          std::type_identity_t<T> beta, T* c, const std::type_identity_t<T>* row = nullptr,
          const OnTile& behind = {});

/// The same in tiles, whichever way gemm takes.
template <class T>
void tiled_product(T alpha, const Factor<T>& a, const Factor<T>& b, T beta, T* c, const T* row,
                   const OnTile& behind);

/// The same by a device's library, without tiles: queued on a GPU (core/ops/matmul.cu).
template <class T>
void gemm(Cpu, std::type_identity_t<T> alpha, const Factor<T>& a, const Factor<T>& b,
          std::type_identity_t<T> beta, T* c) {
  gemm(alpha, a, b, beta, c);
}
/// There a and b may also be bf16 or f16, with c in f32 or in their type; alpha and beta are then floats.
template <AnyGpu Gpu, class T, class R>
void gemm(Gpu gpu, Widened<R> alpha, const Factor<T>& a, const Factor<T>& b, Widened<R> beta, R* c);

/// Bytes that a GPU's product with an epilogue may work in, for the moment: what NVIDIA recommends for its newest.
inline constexpr i64 kProductWorkspace = i64{32} << 20;

/// While one lives, the thread's f32 products on GPUs may round their operands to TF32, 10 bits of mantissa, which tensor
/// cores multiply several times as fast.
class AllowTf32 {
 public:
  AllowTf32();
  ~AllowTf32();
  AllowTf32(const AllowTf32&) = delete;
  AllowTf32& operator=(const AllowTf32&) = delete;
};
bool tf32_allowed();

/// The operands of the products below may also be bf16 or f16. Their sums are made in f32, on the CPU by f32 products of
/// the widened numbers; they are given so, or each rounded once to the operands' type, which f32 and f64 are anyway.
enum class Sums { kept, rounded };

/// op(a) op(b) over the last two dimensions, as NumPy's matmul: leading dimensions broadcast, a
/// vector stands for one row (a) or one column (b) and its dimension is dropped. Throws Error when
/// the inner sizes differ.
Tensor matmul(const Tensor& a, const Tensor& b, Transpose ta = Transpose::no,
              Transpose tb = Transpose::no, Sums sums = Sums::kept);

/// y = x wᵀ + bias.   x [..., in], w [out, in], bias [out] or undefined   →   y [..., out].
/// The bias of narrow operands is f32. A GPU rounds it too where the sums are to be rounded: cuBLASLt takes it in the
/// result's type, and so do the mixed-precision products of PyTorch.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, Sums sums = Sums::kept);

/// Its gradients, given dy [..., out]:   dx = dy w   dw = dyᵀ x   dbias = the column sums of dy.
/// Those of narrow operands are f32, but for dx where it is to be rounded. `so_far`, of the shape and type of a dx that is
/// not, is added to it, and is where it is formed.
Tensor linear_input_gradient(const Tensor& dy, const Tensor& w, Sums sums = Sums::kept,
                             Tensor so_far = {});
Tensor linear_weight_gradient(const Tensor& dy, const Tensor& x);
struct LinearGradients {
  Tensor dw, dbias;
};
LinearGradients linear_gradients(const Tensor& dy, const Tensor& x);

/// The sum over all but the last dimension, of f32 or f64: [..., n] → [n]. Added in chunks of fixed
/// size, in order; chunks' sums likewise, where they are many.
Tensor column_sums(const Tensor& x);

}  // namespace minima::ops
