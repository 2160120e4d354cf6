#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "core/cuda/context.hpp"
#include "core/cuda/each.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/matmul_rows.hpp"
#include "core/tensor.hpp"

namespace minima::ops {
namespace {

using namespace MINIMA_BACKEND;

template <class T>
constexpr cudaDataType_t data_type() {
  if constexpr (std::is_same_v<T, double>) return CUDA_R_64F;
  if constexpr (std::is_same_v<T, float>) return CUDA_R_32F;
  if constexpr (std::is_same_v<T, bf16>) return CUDA_R_16BF;
  if constexpr (std::is_same_v<T, f16>) return CUDA_R_16F;
}

/// How operands of type T are multiplied and summed up.
template <class T>
cublasComputeType_t compute_type() {
  if (std::is_same_v<T, double>) return CUBLAS_COMPUTE_64F;
  return std::is_same_v<T, float> && tf32_allowed() ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                    : CUBLAS_COMPUTE_32F;
}

template <class T>
cublasOperation_t as_stored(const Factor<T>& x) {
  return x.transpose == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
}

}  // namespace

/// cuBLAS is column-major: what it sees are the transposes, cᵀ = bᵀ aᵀ.
template <AnyGpu Gpu, class T, class R>
void gemm(Gpu gpu, Widened<R> alpha, const Factor<T>& a, const Factor<T>& b, Widened<R> beta,
          R* c) {
  check_factors(a, b);
  const auto stride = [](i64 ld) { return std::max<i64>(ld, 1); };
  check_cublas(cublasGemmEx_64(blas_of(gpu), as_stored(b), as_stored(a), b.columns, a.rows,
                               a.columns, &alpha, b.at, data_type<T>(), stride(b.stride), a.at,
                               data_type<T>(), stride(a.stride), &beta, c, data_type<R>(),
                               stride(b.columns), compute_type<T>(), CUBLAS_GEMM_DEFAULT),
               "a matrix product");
}

namespace {

// ---- products with an epilogue: cuBLASLt.
//
// Of its epilogues BIAS and BGRADB are used. GELU, its AUX and DGELU are the approximation by tanh, up to 5e-4
// from the GELU of BERT and DistilBERT, which is that of erf (core/ops/elementwise.hpp): a kernel of its own.

void destroy(cublasLtMatmulDesc_t x) { cublasLtMatmulDescDestroy(x); }
void destroy(cublasLtMatrixLayout_t x) { cublasLtMatrixLayoutDestroy(x); }
void destroy(cublasLtMatmulPreference_t x) { cublasLtMatmulPreferenceDestroy(x); }

/// An object of cuBLASLt.
template <class T>
struct Owned {
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (object) destroy(object);
  }
  T object = nullptr;
};

void check_lt(cublasStatus_t status) { check_cublas(status, "a matrix product with its epilogue"); }

/// The power of two that the address is a multiple of, for cuBLASLt: at most 256.
u32 alignment_of(const void* at) {
  const auto bits = reinterpret_cast<std::uintptr_t>(at) | 256;
  return static_cast<u32>(bits & ~(bits - 1));
}

/// A column-major matrix as it is stored.
struct Matrix {
  Matrix(const void* values, cudaDataType_t type, i64 rows, i64 columns)
      : alignment(alignment_of(values)) {
    check_lt(cublasLtMatrixLayoutCreate(&layout.object, type, static_cast<u64>(rows),
                                        static_cast<u64>(columns), rows));
  }
  u32 alignment;
  Owned<cublasLtMatrixLayout_t> layout;
};

/// What the choice of an algorithm depends on.
using Problem = std::tuple<int, cublasLtEpilogue_t, cudaDataType_t, cudaDataType_t,
                           cublasComputeType_t, i64, i64, i64, u32, u32, u32>;
using Algorithm = std::optional<cublasLtMatmulHeuristicResult_t>;

Algorithm choose(cublasLtHandle_t lt, cublasLtMatmulDesc_t product, const Matrix& a,
                 const Matrix& b, const Matrix& d) {
  Owned<cublasLtMatmulPreference_t> preference;
  check_lt(cublasLtMatmulPreferenceCreate(&preference.object));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_lt(
        cublasLtMatmulPreferenceSetAttribute(preference.object, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<u64>(kProductWorkspace));
  // Parts of a sum are added in f32, not in the result's type, which may have two bytes.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, u32{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a.alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b.alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, d.alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d.alignment);
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(lt, product, a.layout.object, b.layout.object, d.layout.object,
                                     d.layout.object, preference.object, 1, &found, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check_lt(status);
  if (count == 0 || found.state != CUBLAS_STATUS_SUCCESS) return {};
  return found;
}

/// The one chosen for such a problem before, or now: choosing takes as long as a small product.
template <class Choose>
Algorithm algorithm_for(const Problem& problem, const Choose& choose) {
  static std::mutex& mutex = *new std::mutex;
  static std::map<Problem, Algorithm>& known = *new std::map<Problem, Algorithm>;
  const std::lock_guard lock(mutex);
  const auto found = known.find(problem);
  return found != known.end() ? found->second : known[problem] = choose();
}

/// d [m, n] ← op(a) op(b) over k, column-major and with nothing between columns; the epilogue reads or writes
/// `vector`, which is of the type of d. False where there is no algorithm, and for a vector at an address that epilogues do
/// not take.
template <class T, class R>
bool multiply(Gpu gpu, cublasLtEpilogue_t epilogue, cublasOperation_t ta, cublasOperation_t tb,
              i64 m, i64 n, i64 k, const T* a, const T* b, R* d, const R* vector) {
  constexpr u32 kVectorAlignment = 16;
  if (std::is_same_v<T, double> || m == 0 || n == 0 || k == 0 ||
      alignment_of(vector) < kVectorAlignment)
    return false;
  const auto lt = reinterpret_cast<cublasLtHandle_t>(blas_of(gpu));  // a handle of cuBLAS is one
  const Matrix A(a, data_type<T>(), ta == CUBLAS_OP_T ? k : m, ta == CUBLAS_OP_T ? m : k);
  const Matrix B(b, data_type<T>(), tb == CUBLAS_OP_T ? n : k, tb == CUBLAS_OP_T ? k : n);
  const Matrix D(d, data_type<R>(), m, n);

  Owned<cublasLtMatmulDesc_t> product;
  const cublasComputeType_t type = compute_type<T>();
  check_lt(cublasLtMatmulDescCreate(&product.object, type, CUDA_R_32F));
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check_lt(cublasLtMatmulDescSetAttribute(product.object, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, ta);
  set(CUBLASLT_MATMUL_DESC_TRANSB, tb);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);

  const Problem problem{gpu.index, epilogue, data_type<T>(), data_type<R>(), type,       m,
                        n,         k,        A.alignment,    B.alignment,    D.alignment};
  const Algorithm algorithm =
      algorithm_for(problem, [&] { return choose(lt, product.object, A, B, D); });
  if (!algorithm) return false;

  Tensor workspace = Tensor::empty({static_cast<i64>(algorithm->workspaceSize)}, DType::u8,
                                   device_of(gpu));  // the stream's order keeps it
  const float one = 1, zero = 0;
  check_lt(cublasLtMatmul(lt, product.object, &one, a, A.layout.object, b, B.layout.object, &zero,
                          d, D.layout.object, d, D.layout.object, &algorithm->algo, workspace.raw(),
                          algorithm->workspaceSize, stream_of(gpu)));
  return true;
}

}  // namespace

/// yᵀ [out, rows] = w xᵀ, with a bias for each row of yᵀ.
template <AnyGpu Gpu, class T, class R>
bool linear_at_once(Gpu gpu, i64 rows, i64 out, i64 in, const T* x, const T* w, const R* bias,
                    R* y) {
  return multiply(gpu, CUBLASLT_EPILOGUE_BIAS, CUBLAS_OP_T, CUBLAS_OP_N, out, rows, in, w, x, y,
                  bias);
}

/// dwᵀ [in, out] = xᵀ dy, with the sums over the rows of dy, which is B there.
template <AnyGpu Gpu, class T, class R>
bool gradients_at_once(Gpu gpu, i64 rows, i64 out, i64 in, const T* dy, const T* x, R* dw,
                       R* dbias) {
  return multiply(gpu, CUBLASLT_EPILOGUE_BGRADB, CUBLAS_OP_N, CUBLAS_OP_T, in, out, rows, x, dy, dw,
                  dbias);
}

namespace {

template <class T, class R>
constexpr auto all_products() {
  using MINIMA_BACKEND::Gpu;
  return std::tuple{&gemm<Gpu, T, R>, &linear_at_once<Gpu, T, R>, &gradients_at_once<Gpu, T, R>};
}
template <class T>
constexpr auto rounded_products() {
  using MINIMA_BACKEND::Gpu;
  return std::tuple{&gemm<Gpu, T, T>, &linear_at_once<Gpu, T, T>, elements_of<RepeatRow<T>>};
}
template <class... T>
constexpr auto all_elements() {
  return std::tuple{elements_of<RepeatRow<T>>..., elements_of<AddColumns<T>>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut = std::tuple{
    all_products<float, float>(), all_products<double, double>(), all_products<bf16, float>(),
    all_products<f16, float>(),   rounded_products<bf16>(),       rounded_products<f16>(),
    all_elements<float, double>()};

}  // namespace
}  // namespace minima::ops
