/// The emulated device itself: what it must refuse, and what it must not do too early.
#include "tests/emulated/device/device.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/buffer.hpp"
#include "core/cuda/block.hpp"
#include "core/devices.hpp"
#include "core/tensor.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::emulated;

namespace {

constexpr Device kEmulated{Device::Kind::emulated, 0};
constexpr Gpu kGpu{0};

void finish() { cudaDeviceSynchronize(); }

void barrier_of_half(int* reached) {
  if (threadIdx.x < blockDim.x / 2) __syncthreads();
  atomicAdd(reached, 1);
}
void two_barriers() {
  if (threadIdx.x % 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
void shuffle_of_half(float* sum) {
  if (threadIdx.x < 16) sum[0] = __shfl_xor_sync(kAllLanes, 1.0f, 1);
}
void write_at(float* at) { *at = 1; }
[[maybe_unused]] void read_shared(int at, int* out) {
  MINIMA_SHARED(int[3], values);
  values[0] = 1;
  *out = values[at] + MINIMA_DYNAMIC_SHARED(int)[at];
}
/// What nobody has written yet.
void read_unwritten(float* out) {
  MINIMA_SHARED(float[2], values);
  out[2 * blockIdx.x] = values[0] + MINIMA_DYNAMIC_SHARED(float)[0];
  out[2 * blockIdx.x + 1] = values[1];
  values[0] = values[1] = MINIMA_DYNAMIC_SHARED(float)[0] = 1;
}
[[maybe_unused]] void write_shared(int at) {
  MINIMA_SHARED(int[3], values);
  MINIMA_SHARED(int[3], others);
  values[at] = others[at] = 1;
}
[[maybe_unused]] void read_word(const std::byte* from, i64* out) {
  *out = *reinterpret_cast<const i64*>(from);
}
void take_shared() {
  MINIMA_SHARED(double[20'000], values);
  values[0] = 1;
}
/// Without a barrier between, which is what the order of threads must show.
void rotate(int* out) {
  MINIMA_SHARED(int[64], values);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = values[(threadIdx.x + 33) % 64];
}
/// The same with one, twice: the second time the values are overwritten while others may still read them.
[[maybe_unused]] void rotate_twice(int* out, bool between) {
  MINIMA_SHARED(int[64], values);
  for (int k = 0; k < 2; ++k) {
    values[threadIdx.x] = static_cast<int>(threadIdx.x) + k;
    __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = values[(threadIdx.x + 33) % 64];
    if (between) __syncthreads();
  }
}
/// A shuffle waits for the lanes of a warp, but orders nothing that they do.
[[maybe_unused]] void neighbours(float* out, bool sync) {
  float* const values = MINIMA_DYNAMIC_SHARED(float);
  values[threadIdx.x] = 1;
  if (sync) __syncwarp();
  const float own = __shfl_xor_sync(kAllLanes, 2.0f, 1);
  out[threadIdx.x] = own + values[threadIdx.x ^ 1];
}
[[maybe_unused]] void count_blocks(int* count, bool undivided) {
  if (undivided)
    atomicAdd(count, 1);
  else
    ++*count;
}
void votes(unsigned* out) {
  const unsigned ballot = __ballot_sync(kAllLanes, threadIdx.x % 3 == 0);
  const int any = __any_sync(kAllLanes, threadIdx.x == 70), all = __all_sync(kAllLanes, 1);
  const int count = __syncthreads_count(threadIdx.x < 40);
  const float below = __shfl_up_sync(kAllLanes, static_cast<float>(threadIdx.x), 2);
  out[5 * threadIdx.x] = ballot;
  out[5 * threadIdx.x + 1] = static_cast<unsigned>(any);
  out[5 * threadIdx.x + 2] = static_cast<unsigned>(all);
  out[5 * threadIdx.x + 3] = static_cast<unsigned>(count);
  out[5 * threadIdx.x + 4] = static_cast<unsigned>(below);
}

/// The signal that ends a child process which calls f, or its exit status.
template <class F>
int end_of(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("threads that do not meet are an error that says where") {
  Tensor reached = Tensor::zeros({1}, DType::i32, kEmulated);
  launch(kGpu, barrier_of_half, 1, 64, 0, reached.data<i32>());
  CHECK_THROWS_AS(finish(), Error);
  CHECK(reached.item() == 32);
  launch(kGpu, two_barriers, 1, 64, 0);
  CHECK_THROWS_AS(finish(), Error);
  Tensor sum = Tensor::zeros({1}, DType::f32, kEmulated);
  launch(kGpu, shuffle_of_half, 1, 32, 0, sum.data<float>());
  CHECK_THROWS_AS(finish(), Error);
}

TEST_CASE("a missing barrier shows, for threads run in a random order") {
  Tensor out = Tensor::empty({64}, DType::i32, kEmulated);
  launch(kGpu, rotate, 1, 64, 0, out.data<i32>());
#if defined(__SANITIZE_THREAD__)
  CHECK_THROWS_AS(finish(), Error);
#endif
  const Tensor found = out.to(Device{});
  i64 right = 0;
  for (i64 i = 0; i < 64; ++i) right += found.data<i32>()[i] == (i + 33) % 64;
  CHECK(right < 64);
}

#if defined(__SANITIZE_THREAD__)
TEST_CASE("a race is an error in whatever order the threads ran, and only a race") {
  Tensor out = Tensor::zeros({64 * 20}, DType::i32, kEmulated);
  Tensor sums = Tensor::zeros({32}, DType::f32, kEmulated);
  for (const bool right : {true, false}) {
    CAPTURE(right);
    const auto check_finish = [right] {
      if (right)
        CHECK_NOTHROW(finish());
      else
        CHECK_THROWS_WITH_AS(finish(),
                             "emulated device: a race between threads of a kernel; ThreadSanitizer "
                             "has said where",
                             Error);
    };
    launch(kGpu, rotate_twice, 20, 64, 0, out.data<i32>(), right);
    check_finish();
    launch(kGpu, neighbours, 1, 32, 32 * sizeof(float), sums.data<float>(), right);
    check_finish();
    launch(kGpu, count_blocks, 20, 1, 0, out.data<i32>(), right);
    check_finish();
  }
}
#endif

TEST_CASE("votes, shuffles and counts are those of all lanes") {
  Tensor out = Tensor::empty({96 * 5}, DType::i32, kEmulated);
  launch(kGpu, votes, 1, 96, 0, reinterpret_cast<unsigned*>(out.data<i32>()));
  const Tensor found = out.to(Device{});
  for (i64 i = 0; i < 96; ++i) {
    unsigned ballot = 0;
    for (unsigned l = 0; l < 32; ++l) ballot |= unsigned{(i / 32 * 32 + l) % 3 == 0} << l;
    const i32* at = found.data<i32>() + 5 * i;
    CHECK(static_cast<unsigned>(at[0]) == ballot);
    CHECK(at[1] == (i >= 64));
    CHECK(at[2] == 1);
    CHECK(at[3] == 40);
    CHECK(at[4] == (i % 32 >= 2 ? i - 2 : i));
  }
}

TEST_CASE("wrong launches are refused") {
  CHECK_THROWS_AS(launch(kGpu, two_barriers, 1, 1025, 0), Error);
  CHECK_THROWS_AS(launch(kGpu, two_barriers, 1, 0, 0), Error);
  CHECK_THROWS_AS(launch(kGpu, two_barriers, 1, 32, 100 << 10), Error);  // more than it has
  const Kernel unasked{dim3(1), dim3(32), 49 << 10, reinterpret_cast<const void*>(&unasked), [] {}};
  CHECK(start(unasked, stream_of(kGpu)) == cudaErrorInvalidValue);
  cudaGetLastError();
  CHECK_THROWS_AS(Tensor::zeros({1}, DType::f32, {Device::Kind::emulated, 3}), Error);
}

TEST_CASE("a machine that has no GPU for this program says what is missing") {
  const auto refusal = [](const Machine& told) {
    machine() = told;
    std::string message;
    try {
      require_device(kEmulated);
    } catch (const Error& error) {
      message = error.what();
    }
    machine() = {};
    return message;
  };
  CHECK(refusal({}).empty());
  CHECK(refusal({.driver = 0}) ==
        "device emulated: there is no NVIDIA driver (libcuda.so.1); install one, or take the cpu "
        "(--device cpu)");
  CHECK(refusal({.driver = 11040, .runtime = 12080}) ==
        "device emulated: the driver knows CUDA 11.4, this program was built with 12.8; install a "
        "newer driver, build "
        "with an older toolkit, or take the cpu (--device cpu)");
  CHECK(refusal({.devices = 0})
            .starts_with("device emulated: there is a driver but no GPU that it shows"));
  CHECK(refusal({.has_kernels = false})
            .starts_with("device emulated: this program holds no kernels for such a GPU"));
  CHECK_THROWS_WITH_AS(require_device({Device::Kind::emulated, 1}),
                       "device emulated: there is 1, counted from 0", Error);
}

TEST_CASE("device memory is poisoned, bounded, and out of the host's reach") {
  Tensor x = Tensor::empty({100}, DType::f32, kEmulated);
  const Tensor found = x.to(Device{});
  for (float value : found.span<float>()) CHECK(std::isnan(value));
  CHECK(end_of([&] { *x.data<float>() = 1; }) == SIGSEGV);
  CHECK(end_of([&] { static_cast<void>(*const_cast<volatile float*>(x.data<float>())); }) ==
        SIGSEGV);
  CHECK(end_of([&] { finish(); }) == 0);
  CHECK_THROWS_AS(Tensor::empty({i64{1} << 40}, DType::f32, kEmulated), Error);

  void* block = nullptr;
  REQUIRE(cudaMalloc(&block, 100 * sizeof(float)) == cudaSuccess);
  const auto write_behind = [&] {
    launch(kGpu, write_at, 1, 1, 0, static_cast<float*>(block) + 100);
  };
#if defined(__SANITIZE_ADDRESS__)
  CHECK(end_of([&] { write_behind(), finish(); }) == 1);
  const auto read_at = [&](int at, std::size_t shared) {
    return end_of([&] {
      launch(kGpu, read_shared, 1, 1, shared, at, static_cast<int*>(block));
      finish();
    });
  };
  CHECK(read_at(0, 4) == 0);
  CHECK(read_at(1, 4) == 1);   // behind dynamic shared memory
  CHECK(read_at(3, 16) == 1);  // behind static
  CHECK(cudaFree(block) == cudaSuccess);
#else
  write_behind();
  CHECK_THROWS_AS(cudaFree(block), Error);
  inspect([&] { std::memset(static_cast<float*>(block) + 100, 0xff, sizeof(float)); });
  check_bounds();
  launch(kGpu, write_at, 1, 1, 0, x.data<float>() + 100);  // behind a tensor
  CHECK_THROWS_AS(check_bounds(), Error);
  inspect([&] { std::memset(x.data<float>() + 100, 0xff, sizeof(float)); });
#endif
  CHECK(cudaFree(static_cast<std::byte*>(block) + 1) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

TEST_CASE("shared memory is poisoned for each block, and bounded") {
  for (int k = 0; k < 2; ++k) {
    Tensor out = Tensor::zeros({4}, DType::f32, kEmulated);
    launch(kGpu, read_unwritten, 2, 1, sizeof(float), out.data<float>());
    const Tensor found = out.to(Device{});
    for (float value : found.span<float>()) CHECK(std::isnan(value));
  }
  launch(kGpu, take_shared, 1, 1, 0);
  CHECK_THROWS_WITH_AS(
      finish(), "emulated device: a block has 160000 bytes of shared memory, the device 101376",
      Error);
#if !defined(__SANITIZE_ADDRESS__)
  launch(kGpu, write_shared, 1, 1, 0, 2);
  finish();
  launch(kGpu, write_shared, 1, 1, 0, 3);
  CHECK_THROWS_WITH_AS(
      finish(), "emulated device: a kernel wrote behind its 12 bytes of shared memory", Error);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
TEST_CASE("a word that does not begin at a multiple of its size stops a kernel") {
  Tensor bytes = Tensor::zeros({16}, DType::u8, kEmulated),
         out = Tensor::zeros({1}, DType::i64, kEmulated);
  for (const int at : {0, 4}) {
    const auto read = [&] {
      launch(kGpu, read_word, 1, 1, 0, bytes.raw() + at, out.data<i64>());
      finish();
    };
    CHECK(end_of(read) == (at == 0 ? 0 : 1));
  }
}
#endif

TEST_CASE("the allocator counts live and peak bytes, and uses blocks again") {
  release_cached_memory(kEmulated);
  const MemoryStats before = memory_stats(kEmulated);
  for (int i = 0; i < 3; ++i) {
    reset_peak_memory(kEmulated);
    const Tensor a = Tensor::zeros({1000}, DType::f32, kEmulated), b = a.clone();
    CHECK(memory_stats(kEmulated).live == before.live + 8000);
  }
  CHECK(memory_stats(kEmulated).peak == before.live + 8000);
#if !defined(__SANITIZE_ADDRESS__)  // which no block escapes by being used again
  CHECK(memory_stats(kEmulated).allocations == before.allocations + 2);
#endif
  release_cached_memory(kEmulated);
  CHECK(memory_stats(kEmulated).reserved == before.reserved);
}

TEST_CASE("queued work runs when somebody waits for it, and only what must") {
  cudaStream_t first = nullptr, second = nullptr;
  cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  void *host = nullptr, *a = nullptr;
  cudaMallocHost(&host, 4);
  cudaMalloc(&a, 4);
  int& value = *static_cast<int*>(host);

  value = 1;
  CHECK(cudaMemcpyAsync(a, host, 4, cudaMemcpyHostToDevice, first) == cudaSuccess);
  value = 2;  // a real device may have read it by now, or not
  CHECK(cudaEventRecord(event, first) == cudaSuccess);
  CHECK(cudaMemsetAsync(a, 0, 4, first) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(second, event) == cudaSuccess);
  CHECK(cudaMemcpyAsync(host, a, 4, cudaMemcpyDeviceToHost, second) == cudaSuccess);
  CHECK(value == 2);
  CHECK(cudaEventQuery(event) == cudaErrorNotReady);
  CHECK(cudaStreamSynchronize(second) == cudaSuccess);
  CHECK(value == 2);  // the copy saw the 2; the zeros, behind the event, are still to come
  CHECK(cudaEventQuery(event) == cudaSuccess);
  CHECK(cudaStreamSynchronize(first) == cudaSuccess);
  int now = 7;
  CHECK(cudaMemcpyAsync(&now, a, 4, cudaMemcpyDeviceToHost, first) == cudaSuccess);
  CHECK(now == 0);

  CHECK(cudaMemcpyAsync(a, a, 4, cudaMemcpyHostToDevice, first) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(&now, a, 8, cudaMemcpyDeviceToHost, first) == cudaErrorInvalidValue);
  cudaGetLastError();
  cudaFreeHost(host);
  cudaFree(a);
  cudaEventDestroy(event);
  cudaStreamDestroy(first);
  CHECK(cudaStreamSynchronize(first) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
  cudaStreamDestroy(second);
}

TEST_CASE("a graph does what was captured, each time it is launched and not before") {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  Tensor count = Tensor::zeros({1}, DType::i32, kEmulated);
  finish();
  const i64 before = calls();
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  for (int i = 0; i < 3; ++i)
    start({1, 1, 0, nullptr, [at = count.data<i32>()] { count_blocks(at, true); }}, stream);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(calls() == before + 3);
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  cudaStreamSynchronize(stream);
  CHECK(count.item() == 0);
  const i64 captured = calls();
  for (int i = 0; i < 2; ++i) CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
  CHECK(calls() == captured + 2);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);  // what is queued goes on
  cudaStreamSynchronize(stream);
  CHECK(count.item() == 6);
  CHECK(cudaGraphLaunch(executable, stream) == cudaErrorInvalidValue);
  cudaGetLastError();
  cudaStreamDestroy(stream);
}

TEST_CASE("while a stream is captured, what might wait is refused, and spoils the graph") {
  cudaStream_t stream = nullptr, other = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaEventRecord(event, other);
  void *block = nullptr, *more = nullptr, *host = nullptr;
  cudaMalloc(&block, 4);
  cudaMallocHost(&host, 4);
  int pageable = 0;
  const auto capture = [&](const auto& call) {
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    const cudaError_t refusal = call();
    const cudaError_t end = cudaStreamEndCapture(stream, &graph);
    CHECK(end == (refusal == cudaSuccess ? cudaSuccess : cudaErrorStreamCaptureInvalidated));
    CHECK((graph != nullptr) == (end == cudaSuccess));
    cudaGraphDestroy(graph);
    cudaGetLastError();
    return refusal;
  };
  const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
  CHECK(capture([&] { return cudaStreamSynchronize(stream); }) == unsupported);
  CHECK(capture([&] { return cudaDeviceSynchronize(); }) == unsupported);
  CHECK(capture([&] { return cudaEventSynchronize(event); }) == unsupported);
  CHECK(capture([&] { return cudaEventQuery(event); }) == unsupported);
  CHECK(capture([&] { return cudaStreamWaitEvent(stream, event); }) ==
        cudaErrorStreamCaptureIsolation);
  CHECK(capture([&] { return cudaMalloc(&more, 4); }) == unsupported);
  CHECK(capture([&] { return cudaFree(block); }) == unsupported);
  CHECK(capture([&] { return cudaMallocHost(&more, 4); }) == unsupported);
  const auto copy = [&](void* to, const void* from, cudaMemcpyKind kind) {
    return capture([&] { return cudaMemcpyAsync(to, from, 4, kind, stream); });
  };
  CHECK(copy(block, &pageable, cudaMemcpyHostToDevice) == unsupported);
  CHECK(copy(&pageable, block, cudaMemcpyDeviceToHost) == unsupported);
  CHECK(copy(block, host, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(capture([&] { return cudaStreamSynchronize(other); }) == cudaSuccess);
  CHECK(capture([&] {
          cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
          cudaThreadExchangeStreamCaptureMode(&mode);
          const cudaError_t error = cudaMalloc(&more, 4);
          cudaThreadExchangeStreamCaptureMode(&mode);
          return error;
        }) == cudaSuccess);
  cudaGraph_t none = nullptr;
  CHECK(cudaStreamEndCapture(stream, &none) == cudaErrorStreamCaptureUnmatched);
  cudaGetLastError();
  for (void* each : {block, more}) CHECK(cudaFree(each) == cudaSuccess);
  cudaFreeHost(host);
  cudaEventDestroy(event);
  for (cudaStream_t each : {stream, other}) CHECK(cudaStreamDestroy(each) == cudaSuccess);
}

TEST_CASE("cuBLAS refuses wrong leading dimensions, and types that it does not multiply") {
  cublasHandle_t blas = nullptr;
  const float one = 1;
  Tensor x = Tensor::zeros({64}, DType::f32, kEmulated);
  struct Call {
    cublasOperation_t transa = CUBLAS_OP_N;
    i64 n = 2, lda = 4, ldb = 3, ldc = 4;
    cudaDataType_t atype = CUDA_R_32F, btype = CUDA_R_32F, ctype = CUDA_R_32F;
    cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  };
  const auto product = [&](const Call& call) {
    return cublasGemmEx_64(blas, call.transa, CUBLAS_OP_N, 4, call.n, 3, &one, x.raw(), call.atype,
                           call.lda, x.raw(), call.btype, call.ldb, &one, x.raw(), call.ctype,
                           call.ldc, call.compute, CUBLAS_GEMM_DEFAULT);
  };
  CHECK(product({}) == CUBLAS_STATUS_NOT_INITIALIZED);
  cublasCreate(&blas);
  CHECK(product({.lda = 3}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product({.transa = CUBLAS_OP_T, .lda = 2}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product({.ldb = 2}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product({.ldc = 3}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product({.n = -2}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product({.atype = CUDA_R_16F}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(product({.ctype = CUDA_R_16BF}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(product({.compute = CUBLAS_COMPUTE_64F}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(product(
            {.atype = CUDA_R_16F, .btype = CUDA_R_16F, .compute = CUBLAS_COMPUTE_32F_FAST_TF32}) ==
        CUBLAS_STATUS_NOT_SUPPORTED);
  cublasDestroy(blas);
}

TEST_CASE("cuBLASLt refuses what is not described, chosen, aligned or made room for") {
  cublasHandle_t lt = nullptr;
  cublasCreate(&lt);
  Tensor x = Tensor::zeros({256}, DType::f32, kEmulated),
         room = Tensor::zeros({4096}, DType::u8, kEmulated);
  float* const p = x.data<float>();
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    return cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof(value));
  };
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr, other = nullptr;
  cublasLtMatrixLayoutCreate(&a, CUDA_R_32F, 4, 3, 4);
  cublasLtMatrixLayoutCreate(&b, CUDA_R_32F, 3, 8, 3);
  cublasLtMatrixLayoutCreate(&d, CUDA_R_32F, 4, 8, 4);
  cublasLtMatrixLayoutCreate(&other, CUDA_R_32F, 4, 7, 4);
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulPreferenceCreate(&preference);
  const u64 bytes = 4096;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                       8);
  const u32 alignment = 16;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                       &alignment, 4);
  cublasLtMatmulHeuristicResult_t chosen;
  int count = 0;
  const auto choose = [&](cublasLtMatrixLayout_t to) {
    return cublasLtMatmulAlgoGetHeuristic(lt, product, a, b, to, to, preference, 1, &chosen,
                                          &count);
  };
  const float one = 1, zero = 0;
  const auto multiply = [&](const float* from, std::size_t workspace) {
    return cublasLtMatmul(lt, product, &one, p, a, from, b, &zero, p + 128, d, p + 128, d,
                          &chosen.algo, room.raw(), workspace, nullptr);
  };
  CHECK(set(CUBLASLT_MATMUL_DESC_EPILOGUE, u64{4}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS) == CUBLAS_STATUS_SUCCESS);
  CHECK(choose(d) == CUBLAS_STATUS_INVALID_VALUE);  // where is the bias?
  CHECK(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p) == CUBLAS_STATUS_SUCCESS);
  CHECK(choose(other) == CUBLAS_STATUS_INVALID_VALUE);
  REQUIRE(choose(d) == CUBLAS_STATUS_SUCCESS);
  CHECK(count == 1);
  CHECK(chosen.workspaceSize > 0);
  CHECK(multiply(p + 64, chosen.workspaceSize - 1) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(p + 65, chosen.workspaceSize) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(p + 68, chosen.workspaceSize) !=
        CUBLAS_STATUS_INVALID_VALUE);                            // 16 bytes were said to be enough
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BGRADB);  // it was chosen for another
  CHECK(multiply(p + 64, chosen.workspaceSize) == CUBLAS_STATUS_INVALID_VALUE);
  cudaGetLastError();  // nullptr is no stream there
  for (cublasLtMatrixLayout_t layout : {a, b, d, other}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatmulDescDestroy(product);
  cublasDestroy(lt);
}
