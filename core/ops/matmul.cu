#include "core/cuda/context.hpp"
#include "core/cuda/each.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/matmul_rows.hpp"

namespace minima::ops {
namespace {

using namespace MINIMA_BACKEND;

int fitting(i64 n) {
  check(n <= 0x7fffffff, "matmul: a size of {}; cuBLAS takes sizes up to 2^31 − 1", n);
  return static_cast<int>(n);
}

cublasStatus_t product(cublasHandle_t blas, cublasOperation_t ta, cublasOperation_t tb, int m,
                       int n, int k, const float* alpha, const float* a, int lda, const float* b,
                       int ldb, const float* beta, float* c, int ldc) {
  return cublasSgemm(blas, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t product(cublasHandle_t blas, cublasOperation_t ta, cublasOperation_t tb, int m,
                       int n, int k, const double* alpha, const double* a, int lda, const double* b,
                       int ldb, const double* beta, double* c, int ldc) {
  return cublasDgemm(blas, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace

/// cuBLAS is column-major: what it sees are the transposes, Cᵀ = op(B)ᵀ op(A)ᵀ.
template <AnyGpu Gpu, class T>
void gemm(Gpu gpu, Transpose ta, Transpose tb, i64 m, i64 n, i64 k, T alpha, const T* a, i64 lda,
          const T* b, i64 ldb, T beta, T* c, i64 ldc) {
  const auto as_stored = [](Transpose t) {
    return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  const auto stride = [](i64 ld) { return fitting(std::max<i64>(ld, 1)); };
  check_cublas(product(blas_of(gpu), as_stored(tb), as_stored(ta), fitting(n), fitting(m),
                       fitting(k), &alpha, b, stride(ldb), a, stride(lda), &beta, c, stride(ldc)),
               "a matrix product");
}

template void gemm(MINIMA_BACKEND::Gpu, Transpose, Transpose, i64, i64, i64, float, const float*,
                   i64, const float*, i64, float, float*, i64);
template void gemm(MINIMA_BACKEND::Gpu, Transpose, Transpose, i64, i64, i64, double, const double*,
                   i64, const double*, i64, double, double*, i64);

namespace {

template <class T>
constexpr auto all_elements() {
  return std::tuple{elements_of<RepeatRow<T>>, elements_of<AddColumns<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_elements<float>(), all_elements<double>()};

}  // namespace
}  // namespace minima::ops
