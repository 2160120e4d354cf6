/// Matrix products.
///
/// The bits of a product do not depend on the number of threads, and all cores are busy also for small ones. On processors
/// with AVX2 or AVX-512 a product of f32 is made in blocks (core/ops/blocked_product.hpp), on both with the same bits. Elsewhere
/// it is cut into a grid of tiles that depends on its shape alone, each one single-threaded call of OpenBLAS, whose own
/// threading would change bits. f64 has a plain loop.
#pragma once

#include <functional>

#include "core/tensor.hpp"

namespace minima::ops {

/// An operand of a product: whether it is stored transposed.
enum class Transpose { no, yes };

/// A part of C: rows row … row + height − 1, columns column … column + width − 1.
struct Tile {
  i64 row, column, height, width;
};
/// What the thread that computes a tile does behind it, while the tile is in cache. It makes no product itself.
using OnTile = std::function<void(const Tile&)>;

/// Whether products of f32 are made in blocks: with AVX2 or AVX-512, unless the user has chosen an OpenBLAS (MINIMA_BLAS) or
/// one of its kernels (OPENBLAS_CORETYPE); not under the address sanitizer.
bool products_in_blocks();

/// C ← alpha · op(A) op(B) + beta · C, on all threads; with a `row` [n], which is then the base instead of beta · C, each row
/// of C is that plus the product's. Row-major; op(A) is [m, k], op(B) is [k, n]; `lda`, `ldb`, `ldc` are the lengths of
/// the stored rows. With beta = 0 or a row, C is not read.
template <class T>
void gemm(Transpose ta, Transpose tb, i64 m, i64 n, i64 k, T alpha, const T* a, i64 lda, const T* b,
          i64 ldb, T beta, T* c, i64 ldc, const T* row = nullptr, const OnTile& behind = {});

/// The same in tiles, whichever way gemm takes.
template <class T>
void tiled_product(Transpose ta, Transpose tb, i64 m, i64 n, i64 k, T alpha, const T* a, i64 lda,
                   const T* b, i64 ldb, T beta, T* c, i64 ldc, const T* row, const OnTile& behind);

/// The same by a device's library, without tiles: queued on a GPU (core/ops/matmul.cu).
template <class T>
void gemm(Cpu, Transpose ta, Transpose tb, i64 m, i64 n, i64 k, T alpha, const T* a, i64 lda,
          const T* b, i64 ldb, T beta, T* c, i64 ldc) {
  gemm<T>(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
/// There A and B may also be bf16 or f16, with C in f32 or in their type; alpha and beta are then floats.
template <AnyGpu Gpu, class T, class R>
void gemm(Gpu gpu, Transpose ta, Transpose tb, i64 m, i64 n, i64 k, Widened<R> alpha, const T* a,
          i64 lda, const T* b, i64 ldb, Widened<R> beta, R* c, i64 ldc);

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

/// The same on the calling thread, for callers that are parallel themselves.
template <class T>
void gemm_serial(Transpose ta, Transpose tb, i64 m, i64 n, i64 k, T alpha, const T* a, i64 lda,
                 const T* b, i64 ldb, T beta, T* c, i64 ldc);

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
/// size, in order.
Tensor column_sums(const Tensor& x);

}  // namespace minima::ops
