/// The calls of cuBLAS that the project makes, over OpenBLAS.
#include <array>
#include <optional>
#include <span>
#include <vector>

#include "core/cpu/blas.hpp"
#include "core/dtype.hpp"
#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"

namespace minima::emulated {

struct Blas {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace {

i64 bytes_of(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }
bool narrow(cudaDataType_t type) { return type == CUDA_R_16F || type == CUDA_R_16BF; }

/// A matrix as it is stored, column-major.
struct Stored {
  const void* values;
  cudaDataType_t type;
  i64 rows, columns, ld;
  i64 extent() const { return columns == 0 ? 0 : (columns - 1) * ld + rows; }
  bool in_reach() const {
    return on_device(values, static_cast<std::size_t>(extent() * bytes_of(type)));
  }
};

/// What cuBLAS multiplies: C [m, n] ← alpha op(A) op(B) + beta C.
struct Product {
  bool at, bt;
  i64 m, n, k;
  Stored a, b;
  void* c;
  cudaDataType_t ctype;
  i64 ldc;
  cublasComputeType_t compute;
  /// Of a narrow C: summed up in parts, each rounded to C's type, as the real one may where nobody forbids it.
  bool in_parts = false;

  /// The library refuses sizes below 0 and leading dimensions shorter than a column,
  bool valid() const {
    return m >= 0 && n >= 0 && k >= 0 && a.ld >= std::max<i64>(1, a.rows) &&
           b.ld >= std::max<i64>(1, b.rows) && ldc >= std::max<i64>(1, m);
  }
  /// and types of which its table has no such row.
  bool supported() const {
    if (a.type != b.type) return false;
    if (compute == CUBLAS_COMPUTE_64F) return a.type == CUDA_R_64F && ctype == CUDA_R_64F;
    if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return a.type == CUDA_R_32F && ctype == CUDA_R_32F;
    return (a.type == CUDA_R_32F && ctype == CUDA_R_32F) ||
           (narrow(a.type) && (ctype == CUDA_R_32F || ctype == a.type));
  }
};

/// As the units for it see an operand in TF32: 10 bits of mantissa, ties away from 0.
float tf32(float x) {
  return std::isfinite(x) ? std::bit_cast<float>((std::bit_cast<u32>(x) + 0x1000u) & ~0x1fffu) : x;
}

/// The stored numbers as floats that the units multiply; `copy` holds them where they are others.
const float* opened(const Stored& x, cublasComputeType_t compute, std::vector<float>& copy) {
  const auto* const wide = static_cast<const float*>(x.values);
  if (x.type == CUDA_R_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32) return wide;
  copy.resize(static_cast<std::size_t>(x.extent()));
  for (i64 j = 0; j < x.columns; ++j)
    for (i64 i = j * x.ld; i < j * x.ld + x.rows; ++i)
      copy[static_cast<std::size_t>(i)] =
          x.type == CUDA_R_32F   ? tf32(wide[i])
          : x.type == CUDA_R_16F ? static_cast<float>(static_cast<const f16*>(x.values)[i])
                                 : static_cast<float>(static_cast<const bf16*>(x.values)[i]);
  return copy.data();
}

/// The number as C keeps it.
float rounded(float x, cudaDataType_t type) {
  if (type == CUDA_R_16F) return static_cast<float>(f16(x));
  return type == CUDA_R_16BF ? static_cast<float>(bf16(x)) : x;
}

/// C's sums in f32, bias included, and each rounded once where C is narrow.
void multiply(const Product& p, float alpha, float beta, const void* bias = nullptr) {
  std::vector<float> a_copy, b_copy, c_copy, bias_copy;
  const float *const a = opened(p.a, p.compute, a_copy), *const b = opened(p.b, p.compute, b_copy);
  const Stored stored{p.c, p.ctype, p.m, p.n, p.ldc};
  auto* const c = narrow(p.ctype) ? const_cast<float*>(opened(stored, CUBLAS_COMPUTE_32F, c_copy))
                                  : static_cast<float*>(p.c);
  // Column-major C = A B is row-major Cᵀ = Bᵀ Aᵀ.
  const i64 half = p.in_parts && narrow(p.ctype) ? p.k / 2 : 0;
  std::vector<float> part(static_cast<std::size_t>(half > 0 ? p.ldc * p.n : 0));
  if (half > 0)
    blas::sgemm(p.bt, p.at, p.n, p.m, half, alpha, b, p.b.ld, a, p.a.ld, 0, part.data(), p.ldc);
  if (p.k > 0) {
    blas::sgemm(p.bt, p.at, p.n, p.m, p.k - half, alpha, b + half * (p.bt ? p.b.ld : 1), p.b.ld,
                a + half * (p.at ? 1 : p.a.ld), p.a.ld, beta, c, p.ldc);
  } else {
    for (i64 j = 0; j < p.n; ++j)
      for (i64 i = 0; i < p.m; ++i) c[j * p.ldc + i] = beta == 0 ? 0 : beta * c[j * p.ldc + i];
  }
  const float* const added =
      bias ? opened({bias, p.ctype, p.m, 1, p.m}, CUBLAS_COMPUTE_32F, bias_copy) : nullptr;
  if (!added && !narrow(p.ctype)) return;
  for (i64 j = 0; j < p.n; ++j)
    for (i64 i = j * p.ldc; i < j * p.ldc + p.m; ++i) {
      if (half > 0)
        c[i] = rounded(c[i], p.ctype) + rounded(part[static_cast<std::size_t>(i)], p.ctype);
      if (added) c[i] += added[i - j * p.ldc];
      if (p.ctype == CUDA_R_16F) static_cast<f16*>(p.c)[i] = f16(c[i]);
      if (p.ctype == CUDA_R_16BF) static_cast<bf16*>(p.c)[i] = bf16(c[i]);
    }
}
void multiply(const Product& p, double alpha, double beta) {
  const auto *const a = static_cast<const double*>(p.a.values), *const b =
                                                                    static_cast<const double*>(
                                                                        p.b.values);
  auto* const c = static_cast<double*>(p.c);
  for (i64 j = 0; j < p.n; ++j)
    for (i64 i = 0; i < p.m; ++i) {
      double sum = 0;
      for (i64 l = 0; l < p.k; ++l)
        sum += (p.at ? a[i * p.a.ld + l] : a[l * p.a.ld + i]) *
               (p.bt ? b[l * p.b.ld + j] : b[j * p.b.ld + l]);
      double& to = c[j * p.ldc + i];
      to = beta == 0 ? alpha * sum : alpha * sum + beta * to;
    }
}

void require_reach(const Product& p) {
  check(Stored{p.c, p.ctype, p.m, p.n, p.ldc}.in_reach() &&
            (p.k == 0 || (p.a.in_reach() && p.b.in_reach())),
        "emulated device: a product of {} × {} × {} reaches outside of the device's memory", p.m,
        p.n, p.k);
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
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

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa,
                               cublasOperation_t transb, i64 m, i64 n, i64 k, const void* alpha,
                               const void* a, cudaDataType_t atype, i64 lda, const void* b,
                               cudaDataType_t btype, i64 ldb, const void* beta, void* c,
                               cudaDataType_t ctype, i64 ldc, cublasComputeType_t compute,
                               cublasGemmAlgo_t) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool at = transa == CUBLAS_OP_T, bt = transb == CUBLAS_OP_T;
  const Product product{at,
                        bt,
                        m,
                        n,
                        k,
                        {a, atype, at ? k : m, at ? m : k, lda},
                        {b, btype, bt ? n : k, bt ? k : n, ldb},
                        c,
                        ctype,
                        ldc,
                        compute,
                        handle->math != CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION};
  if (!alpha || !beta || !product.valid()) return CUBLAS_STATUS_INVALID_VALUE;
  if (!product.supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const auto queue = [&]<class T>(T) {
    return enqueue(handle->stream, [product, alpha = *static_cast<const T*>(alpha),
                                    beta = *static_cast<const T*>(beta)] {
      require_reach(product);
      multiply(product, alpha, beta);
    });
  };
  const cudaError_t error = compute == CUBLAS_COMPUTE_64F ? queue(0.0) : queue(0.0f);
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

// ---- cuBLASLt

struct LtProduct {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t ta = CUBLAS_OP_N, tb = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* vector = nullptr;  ///< of the type of D
};
struct LtLayout {
  cudaDataType_t type;
  i64 rows, columns, ld;
};
struct LtPreference {
  u64 workspace = 0;
  u32 reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<u32, 4> alignment{256, 256, 256, 256};  ///< of A, B, C and D
};

namespace {

/// Takes so much where it may: the caller must have it ready.
constexpr u64 kLtWorkspace = 4096;
i64 epilogues_queued = 0;

template <class T>
cublasStatus_t assign(T& to, const void* value, std::size_t bytes) {
  if (!value || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

u64 alignment_of(const void* at) {
  const auto bits = reinterpret_cast<std::uintptr_t>(at) | 256;
  return bits & ~(bits - 1);
}

/// The product that the descriptors say, without addresses; none where they do not fit together.
std::optional<Product> described(const LtProduct& product, const LtLayout& a, const LtLayout& b,
                                 const LtLayout& c, const LtLayout& d) {
  const bool at = product.ta == CUBLAS_OP_T, bt = product.tb == CUBLAS_OP_T;
  const Product p{at,
                  bt,
                  d.rows,
                  d.columns,
                  at ? a.rows : a.columns,
                  {nullptr, a.type, a.rows, a.columns, a.ld},
                  {nullptr, b.type, b.rows, b.columns, b.ld},
                  nullptr,
                  d.type,
                  d.ld,
                  product.compute};
  const bool fit = (at ? a.columns : a.rows) == p.m && (bt ? b.rows : b.columns) == p.n &&
                   (bt ? b.columns : b.rows) == p.k && c.rows == d.rows && c.columns == d.columns &&
                   c.type == d.type;
  const bool has_vector = product.epilogue == CUBLASLT_EPILOGUE_DEFAULT || product.vector;
  if (!fit || !p.valid() || !has_vector || p.m == 0 || p.n == 0 || p.k == 0) return {};
  return p;
}

/// What an algorithm was chosen for; the others do not fit it.
std::array<u64, 5> purpose(const LtProduct& product, const Product& p) {
  return {u64(p.m) << 32 | u64(p.n), u64(p.k), u64(p.a.type) << 32 | u64(p.ctype),
          u64(product.compute) << 32 | u64(product.epilogue), u64(p.at) << 1 | u64(p.bt)};
}

}  // namespace

i64 epilogues() { return epilogues_queued; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *product = new LtProduct{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete product;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(product->ta, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(product->tb, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(product->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(product->vector, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          u64 rows, u64 columns, i64 ld) {
  *layout = new LtLayout{type, static_cast<i64>(rows), static_cast<i64>(columns), ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new LtPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    return assign(preference->workspace, value, bytes);
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    return assign(preference->reductions, value, bytes);
  const int operand = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
  return assign(preference->alignment.at(static_cast<std::size_t>(operand)), value, bytes);
}

/// As narrow as the real one's tables, and narrower, so that the ways around it are gone: with bf16 and f16 it has no
/// algorithm where columns do not begin at multiples of 16 bytes.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  *found = 0;
  const std::optional<Product> p = described(*product, *a, *b, *c, *d);
  if (!p || asked < 1 || product->scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  const auto& alignment = preference->alignment;
  const bool narrow_fits =
      a->ld % 8 == 0 && b->ld % 8 == 0 && alignment[0] >= 16 && alignment[1] >= 16;
  const bool sums_fit = product->epilogue != CUBLASLT_EPILOGUE_BGRADB || d->type == CUDA_R_32F;
  if (!p->supported() || (narrow(a->type) && !narrow_fits) || !sums_fit)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  *found = 1;
  results[0] = {};
  results[0].workspaceSize = std::min(preference->workspace, kLtWorkspace);
  std::ranges::copy(purpose(*product, *p), results[0].algo.data);
  results[0].algo.data[5] = u64{alignment[0]} << 32 | alignment[1];
  const u64 in_parts = preference->reductions & ~u32{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE};
  results[0].algo.data[6] = in_parts << 32 | alignment[3];
  results[0].algo.data[7] = results[0].workspaceSize;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  std::optional<Product> p = described(*product, *a_layout, *b_layout, *c_layout, *d_layout);
  const bool chosen_for_it =
      p && std::ranges::equal(purpose(*product, *p), std::span(algo->data, 5));
  if (!chosen_for_it || !alpha || !beta || c != d || workspace_bytes < algo->data[7])
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool aligned =
      alignment_of(a) >= algo->data[5] >> 32 && alignment_of(b) >= (algo->data[5] & 0xffffffffu) &&
      alignment_of(d) >= (algo->data[6] & 0xffffffffu) && alignment_of(workspace) >= 16 &&
      (product->epilogue == CUBLASLT_EPILOGUE_DEFAULT || alignment_of(product->vector) >= 16);
  if (!aligned) return CUBLAS_STATUS_INVALID_VALUE;
  p->a.values = a, p->b.values = b, p->c = d;
  p->in_parts = algo->data[6] >> 32 != 0;
  const auto work = [p = *p, product = *product, alpha = *static_cast<const float*>(alpha),
                     beta = *static_cast<const float*>(beta), workspace, workspace_bytes] {
    require_reach(p);
    const bool sums = product.epilogue == CUBLASLT_EPILOGUE_BGRADB;
    const i64 length = sums ? p.n : p.m;
    if (product.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
      check(Stored{product.vector, p.ctype, length, 1, length}.in_reach() &&
                on_device(workspace, workspace_bytes),
            "emulated device: the bias of a product reaches outside of the device's memory");
    std::memset(workspace, 0xff, workspace_bytes);
    multiply(p, alpha, beta, product.epilogue == CUBLASLT_EPILOGUE_BIAS ? product.vector : nullptr);
    if (!sums) return;
    std::vector<float> copy;
    const float* const from = opened(p.b, p.compute, copy);
    for (i64 j = 0; j < p.n; ++j) {
      double sum = 0;
      for (i64 l = 0; l < p.k; ++l)
        sum += double{p.bt ? from[l * p.b.ld + j] : from[j * p.b.ld + l]};
      static_cast<float*>(product.vector)[j] = static_cast<float>(sum);
    }
  };
  if (enqueue(stream, work) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  epilogues_queued += product->epilogue != CUBLASLT_EPILOGUE_DEFAULT;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace minima::emulated
