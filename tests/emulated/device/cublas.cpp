/// The calls of cuBLAS that the project makes, over OpenBLAS.
#include "core/cpu/blas.hpp"
#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"

namespace minima::emulated {

struct Blas {
  cudaStream_t stream = nullptr;
};

namespace {

/// What the library refuses: sizes below 0, leading dimensions shorter than a column.
bool valid(bool at, bool bt, int m, int n, int k, int lda, int ldb, int ldc) {
  return m >= 0 && n >= 0 && k >= 0 && lda >= std::max(1, at ? k : m) &&
         ldb >= std::max(1, bt ? n : k) && ldc >= std::max(1, m);
}

void multiply(bool at, bool bt, i64 m, i64 n, i64 k, float alpha, const float* a, i64 lda,
              const float* b, i64 ldb, float beta, float* c, i64 ldc) {
  // Column-major C = A B is row-major Cᵀ = Bᵀ Aᵀ.
  blas::sgemm(bt, at, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc);
}
void multiply(bool at, bool bt, i64 m, i64 n, i64 k, double alpha, const double* a, i64 lda,
              const double* b, i64 ldb, double beta, double* c, i64 ldc) {
  for (i64 j = 0; j < n; ++j)
    for (i64 i = 0; i < m; ++i) {
      double sum = 0;
      for (i64 p = 0; p < k; ++p)
        sum += (at ? a[i * lda + p] : a[p * lda + i]) * (bt ? b[p * ldb + j] : b[j * ldb + p]);
      c[j * ldc + i] = beta == 0 ? alpha * sum : alpha * sum + beta * c[j * ldc + i];
    }
}

template <class T>
cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                    int m, int n, int k, const T* alpha, const T* a, int lda, const T* b, int ldb,
                    const T* beta, T* c, int ldc) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool at = transa == CUBLAS_OP_T, bt = transb == CUBLAS_OP_T;
  if (!alpha || !beta || !valid(at, bt, m, n, k, lda, ldb, ldc)) return CUBLAS_STATUS_INVALID_VALUE;
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const bool queued = enqueue(handle->stream, [=, alpha = *alpha, beta = *beta] {
    const auto extent = [](i64 columns, i64 ld, i64 rows) {
      return static_cast<std::size_t>((columns - 1) * ld + rows) * sizeof(T);
    };
    check(on_device(c, extent(n, ldc, m)) &&
              (k == 0 || (on_device(a, at ? extent(m, lda, k) : extent(k, lda, m)) &&
                          on_device(b, bt ? extent(k, ldb, n) : extent(n, ldb, k)))),
          "emulated device: a product of {} × {} × {} reaches outside of the device's memory", m, n,
          k);
    if (k > 0) return multiply(at, bt, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i) c[i64{j} * ldc + i] = beta == 0 ? 0 : beta * c[i64{j} * ldc + i];
  });
  return queued ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      break;
  }
  return "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new Blas;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const float* alpha,
                           const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return gemm(handle, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const double* alpha,
                           const double* a, int lda, const double* b, int ldb, const double* beta,
                           double* c, int ldc) {
  return gemm(handle, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace minima::emulated
