/// The emulated device: enough of CUDA for the host compiler to compile and run the project's `.cu` files on any machine.
/// For tests only; a build with -DMINIMA_EMULATED=ON compiles them with
///
///     c++ -x c++ -include tests/emulated/device/device.hpp core/ops/rows.cu …
///
/// It is as unkind as a GPU may be, so that a mistake shows here:
/// - the threads of a block run in an order drawn from MINIMA_EMULATED_SEED (1), and so do the blocks; a thread runs until
///   it waits for others. A barrier or a shuffle that a thread misses ends in an Error (threads.cpp);
/// - memory comes filled with NaN, shared memory too, and only running kernels can touch it: a host access faults, a write
///   behind a block is found when the block is freed, and by check_bounds(), after every test case, one behind shared memory
///   when the threads have ended; and there is only so much of it (memory.cpp, threads.cpp);
/// - work that is queued in a stream runs when somebody waits for it and not before; while a stream is captured into a
///   graph, what might wait is refused (streams.cpp);
/// - the calls of cuBLAS refuse what the real one refuses (cublas.cpp);
/// - under ThreadSanitizer every thread of a block is one of its threads; under AddressSanitizer the memory behind a block
///   or behind shared memory is out of bounds when it is touched (sanitizers.hpp), and a pointer in a kernel must be a
///   multiple of what it points to.
/// What it cannot show: speed, the order of memory accesses between blocks that run at once, a kernel that reads the host's
/// memory, and a launch beyond its kernel's __launch_bounds__.
#pragma once

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <source_location>
#include <type_traits>

#include "core/device.hpp"
#include "core/types.hpp"

#define MINIMA_BACKEND emulated
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define threadIdx (::minima::emulated::thread->index)
#define blockIdx (::minima::emulated::thread->block->index)
#define blockDim (::minima::emulated::thread->block->size)
#define gridDim (::minima::emulated::thread->block->grid)
#define MINIMA_UNROLL
#define MINIMA_SHARED(T, name)           \
  static const char name##_declared = 0; \
  [[maybe_unused]] auto& name =          \
      ::minima::emulated::shared<std::type_identity_t<T>>(&name##_declared)
#define MINIMA_DYNAMIC_SHARED(T) static_cast<T*>(::minima::emulated::thread->block->shared)

namespace minima::emulated {

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// ---- the threads of a block

struct Block {
  dim3 grid, size, index;
  void* shared = nullptr;
};
struct Thread {
  dim3 index;
  unsigned number = 0;  ///< x + y · size.x + z · size.x · size.y
  const Block* block = nullptr;
};
inline thread_local const Thread* thread = nullptr;  ///< the one that runs

struct Kernel {
  dim3 grid, size;
  std::size_t shared_bytes = 0;
  const void* code = nullptr;
  std::function<void()> run;  ///< one thread's part
};

/// What the block has for a declaration of shared memory, known by an address.
void* shared_at(const void* declared, std::size_t bytes);
template <class T>
T& shared(const void* declared) {
  static_assert(std::is_trivially_default_constructible_v<T> && alignof(T) <= 16,
                "nobody initializes shared memory");
  return *static_cast<T*>(shared_at(declared, sizeof(T)));
}

/// Waits for all threads of the block; returns how many of them said yes.
unsigned meet_block(bool yes, const std::source_location& where);
/// Waits for the lanes of `mask`; returns what each lane of the warp gave. Shuffles and ballots do not order accesses to
/// memory.
const u64* meet_warp(unsigned mask, u64 given, bool orders_memory,
                     const std::source_location& where);

using Where = std::source_location;
inline void __syncthreads(Where where = Where::current()) { meet_block(false, where); }
inline int __syncthreads_count(int yes, Where where = Where::current()) {
  return static_cast<int>(meet_block(yes != 0, where));
}
inline int __syncthreads_or(int yes, Where where = Where::current()) {
  return meet_block(yes != 0, where) > 0;
}
inline int __syncthreads_and(int yes, Where where = Where::current()) {
  return meet_block(yes == 0, where) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, Where where = Where::current()) {
  meet_warp(mask, 0, true, where);
}

template <class T>
T shuffled(unsigned mask, T value, unsigned from, const Where& where) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  u64 bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const u64* given = meet_warp(mask, bits, false, where);
  // Of a lane that is not in the mask the value is undefined: NaN here.
  bits = (mask >> from) & 1 ? given[from] : ~u64{0};
  T result;
  std::memcpy(&result, &bits, sizeof(T));
  return result;
}
inline unsigned lane() { return thread->number % 32; }
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, Where where = Where::current()) {
  const unsigned w = static_cast<unsigned>(width);
  return shuffled(mask, value, lane() / w * w + static_cast<unsigned>(from) % w, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int = 32, Where where = Where::current()) {
  return shuffled(mask, value, lane() ^ static_cast<unsigned>(bits), where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   Where where = Where::current()) {
  const unsigned w = static_cast<unsigned>(width);
  return shuffled(mask, value, lane() % w + by < w ? lane() + by : lane(), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 Where where = Where::current()) {
  const unsigned w = static_cast<unsigned>(width);
  return shuffled(mask, value, lane() % w >= by ? lane() - by : lane(), where);
}
inline unsigned __ballot_sync(unsigned mask, int yes, Where where = Where::current()) {
  const u64* given = meet_warp(mask, yes != 0, false, where);
  unsigned ballot = 0;
  for (unsigned l = 0; l < 32; ++l)
    if ((mask >> l) & 1) ballot |= static_cast<unsigned>(given[l]) << l;
  return ballot;
}
inline int __any_sync(unsigned mask, int yes, Where where = Where::current()) {
  return __ballot_sync(mask, yes, where) != 0;
}
inline int __all_sync(unsigned mask, int yes, Where where = Where::current()) {
  return __ballot_sync(mask, yes, where) == mask;
}

// Of one another they see nothing but the value: none orders other accesses.
template <class T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref(*at).exchange(value, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref(*at).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref(*at).fetch_add(value, std::memory_order_relaxed);
}
// Threads take turns only where they wait, so that these two need no loop.
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  const T before = std::atomic_ref(*at).load(std::memory_order_relaxed);
  return value > before ? atomicExch(at, value) : before;
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  const T before = std::atomic_ref(*at).load(std::memory_order_relaxed);
  return value < before ? atomicExch(at, value) : before;
}

// ---- the runtime. One device; every call may fail as the real one may.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorStreamCaptureWrongThread = 908,
};
const char* cudaGetErrorString(cudaError_t error);
/// The last error of a call or a launch, once.
cudaError_t cudaGetLastError();

/// What there is, as the calls below tell it; a test may say something else.
struct Machine {
  int driver = 13000, runtime = 13000, devices = 1;
  bool has_kernels = true;  ///< for its device
  int multiprocessors = 1, shared_bytes = 99 << 10, capability = 80;
  std::size_t memory_bytes = std::size_t{1} << 40;  ///< that cudaMalloc gives in all
  std::size_t pinned_bytes = std::size_t{1} << 40;  ///< that cudaMallocHost gives at once
};
Machine& machine();

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);

cudaError_t cudaMalloc(void** block, std::size_t bytes);
cudaError_t cudaFree(void* block);
/// Host memory from and to which an asynchronous copy really is one. Filled with NaN.
cudaError_t cudaMallocHost(void** block, std::size_t bytes);
cudaError_t cudaFreeHost(void* block);

using cudaStream_t = struct Stream*;
using cudaEvent_t = struct Event*;
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1,
                          cudaEventDisableTiming = 2;
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
/// Not ready when first asked, if anything is left to do.
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice
};
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* block, int value, std::size_t bytes, cudaStream_t stream);

// Graphs: what is queued in a stream between the two calls is kept, in its order, and done by each launch. A captured
// stream has no branches here, and no copy of a graph may touch pageable memory: by then that may hold something else.
using cudaGraph_t = struct Graph*;
using cudaGraphExec_t = struct GraphExec*;
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
/// Fails, without a graph, where a call in between was refused.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
/// How the thread heeds captures: while it is relaxed, it may take memory though it captures.
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

/// A launch of the kernel may ask for so much shared memory; of any other, for 48 KB.
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value);
template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value) {
  return set_attribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

/// What <<<…>>> does.
cudaError_t start(Kernel kernel, cudaStream_t stream);

/// Waits for all that is queued; throws Error where something was written behind a block of memory that is not freed.
void check_bounds();
/// How often the host has waited since the program began: for a copy to it, or for a stream or an event.
i64 waits();
/// How often it has queued something.
i64 calls();

/// Calls f where a kernel would run: with the device's memory in reach. For tests.
void inspect(const std::function<void()>& f);

// ---- cuBLAS, column-major

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
using cublasHandle_t = struct Blas*;
const char* cublasGetStatusString(cublasStatus_t status);
cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);
enum cublasMath_t {
  CUBLAS_DEFAULT_MATH = 0,
  CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16
};
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa,
                               cublasOperation_t transb, i64 m, i64 n, i64 k, const void* alpha,
                               const void* a, cudaDataType_t atype, i64 lda, const void* b,
                               cudaDataType_t btype, i64 ldb, const void* beta, void* c,
                               cudaDataType_t ctype, i64 ldc, cublasComputeType_t compute,
                               cublasGemmAlgo_t algo);

// ---- cuBLASLt

using cublasLtHandle_t = struct Blas*;  ///< a handle of cuBLAS is one of cuBLASLt
using cublasLtMatmulDesc_t = struct LtProduct*;
using cublasLtMatrixLayout_t = struct LtLayout*;
using cublasLtMatmulPreference_t = struct LtPreference*;
enum cublasLtEpilogue_t {
  CUBLASLT_EPILOGUE_DEFAULT = 1,
  CUBLASLT_EPILOGUE_BIAS = 4,
  CUBLASLT_EPILOGUE_BGRADB = 512
};
enum cublasLtMatmulDescAttributes_t {
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_TRANSB = 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};
enum cublasLtReductionScheme_t {
  CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2,
  CUBLASLT_REDUCTION_SCHEME_MASK = 7
};
struct cublasLtMatmulAlgo_t {
  u64 data[8] = {};
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize = 0;
  cublasStatus_t state = CUBLAS_STATUS_SUCCESS;
};
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale);
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          u64 rows, u64 columns, i64 ld);
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference);
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t* results, int* found);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream);
/// How many products with an epilogue have been queued since the program began.
i64 epilogues();

}  // namespace minima::emulated
