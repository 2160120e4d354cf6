#if defined(__CUDACC__)
#include <dlfcn.h>
#endif

#include <map>
#include <mutex>

#include "core/cuda/context.hpp"
#include "core/cuda/memory.hpp"
#include "core/cuda/wrong_value.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

/// What a device has one of. Never destroyed: tensors may outlive every other object.
struct Context {
  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  WrongValue* wrong = nullptr;
};

Context& context_of(Gpu gpu) {
  static std::mutex& mutex = *new std::mutex;
  static std::map<int, Context>& contexts = *new std::map<int, Context>;
  const std::lock_guard lock(mutex);
  check_cuda(cudaSetDevice(gpu.index), "choosing the device");
  const auto found = contexts.find(gpu.index);
  if (found != contexts.end()) return found->second;
  Context made;
  check_cuda(cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking), "making a stream");
  void* wrong = nullptr;
  check_cuda(cudaMalloc(&wrong, sizeof(WrongValue)), "memory for errors");
  made.wrong = static_cast<WrongValue*>(wrong);
  check_cuda(cudaMemsetAsync(wrong, 0, sizeof(WrongValue), made.stream), "memory for errors");
  check_cublas(cublasCreate(&made.blas), "starting cuBLAS");
  check_cublas(cublasSetStream(made.blas, made.stream), "starting cuBLAS");
  // A result of two bytes is rounded once: the parts of a sum stay in f32.
  check_cublas(cublasSetMathMode(made.blas, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
               "starting cuBLAS");
  return contexts[gpu.index] = made;
}

__global__ void any_kernel() {}

thread_local bool recording = false;

/// A graph would look at the host's memory when it is replayed: by then that holds something else.
void refuse_while_recording(const char* what) {
  check(!recording, "recording: {}; what is recorded must not need the host", what);
}

/// While one lives, the thread may take memory though it records.
class Relaxed {
 public:
  Relaxed() { exchange(); }
  ~Relaxed() { exchange(); }
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  void exchange() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace

cudaStream_t stream_of(Gpu gpu) { return context_of(gpu).stream; }
int attribute_of(Gpu gpu, cudaDeviceAttr which) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, gpu.index), "asking what the device has");
  return value;
}
DeviceLimits limits_of(Gpu gpu) {
  return {attribute_of(gpu, cudaDevAttrMultiProcessorCount),
          attribute_of(gpu, cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}
cublasHandle_t blas_of(Gpu gpu) { return context_of(gpu).blas; }
WrongValue* wrong_value_of(Gpu gpu) { return context_of(gpu).wrong; }

#if defined(__CUDACC__)
void* in_cublas(const char* function) {
  static void* const library = [] {
    const std::string file = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR);
    for (const std::string& path : {file, std::string(MINIMA_CUBLAS_FOLDER "/") + file})
      if (void* found = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
    fail_at_run_time(
        "cuda: cuBLAS cannot be loaded: {}; install it (CUDA Toolkit {}), name its folder in "
        "LD_LIBRARY_PATH, or take the cpu (--device cpu)",
        dlerror(), CUDART_VERSION / 1000);
  }();
  void* const found = dlsym(library, function);
  if (!found) fail_at_run_time("cuda: cuBLAS has no {}: {}", function, dlerror());
  return found;
}
#endif

}  // namespace MINIMA_BACKEND

using namespace MINIMA_BACKEND;

template <>
void require_present(Gpu gpu) {
  const std::string device = to_string(device_of(gpu));
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();  // it is told here
  const auto version = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
  if (driver == 0)
    fail_at_run_time(
        "device {}: there is no NVIDIA driver (libcuda.so.1); install one, or take the cpu "
        "(--device cpu)",
        device);
  if (error == cudaErrorInsufficientDriver)
    fail_at_run_time(
        "device {}: the driver knows CUDA {}, this program was built with {}; install a newer "
        "driver, build with an older toolkit, or take the cpu (--device cpu)",
        device, version(driver), version(runtime));
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    fail_at_run_time(
        "device {}: there is a driver but no GPU that it shows (nvidia-smi -L lists them, "
        "CUDA_VISIBLE_DEVICES hides some); take the cpu (--device cpu)",
        device);
  check_cuda(error, "counting the GPUs");
  check(gpu.index >= 0 && gpu.index < count, "device {}: there {} {}, counted from 0", device,
        count == 1 ? "is" : "are", count);
  launch(gpu, any_kernel, 1, 1, 0);  // a GPU for which there are no kernels is told now
}

template <>
int capability_of(Gpu gpu) {
  return 10 * attribute_of(gpu, cudaDevAttrComputeCapabilityMajor) +
         attribute_of(gpu, cudaDevAttrComputeCapabilityMinor);
}

template <>
std::byte* obtain(Gpu gpu, i64 bytes) {
  stream_of(gpu);
  const Relaxed relaxed;
  void* block = nullptr;
  const cudaError_t error = cudaMalloc(&block, static_cast<std::size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it has been told
    return nullptr;
  }
  check_cuda(error, "taking memory");
  return static_cast<std::byte*>(block);
}

template <>
void release(Gpu gpu, std::byte* block) {
  stream_of(gpu);
  check_cuda(cudaFree(block), "giving memory back");
}

template <>
void before_reuse([[maybe_unused]] Gpu gpu, [[maybe_unused]] std::byte* block,
                  [[maybe_unused]] i64 bytes) {
#if !defined(__CUDACC__)
  check_cuda(cudaMemsetAsync(block, 0xff, static_cast<std::size_t>(bytes), stream_of(gpu)),
             "clearing memory");
#endif
}

template <>
void copy_to_device(Gpu gpu, void* to, const void* from, i64 bytes) {
  refuse_while_recording("a copy to the device cannot be recorded");
  check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice,
                             stream_of(gpu)),
             "a copy to the device");
}

template <>
void copy_within(Gpu gpu, void* to, const void* from, i64 bytes) {
  check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                             stream_of(gpu)),
             "a copy on the device");
}

template <>
void fill_with_zeros(Gpu gpu, void* at, i64 bytes) {
  check_cuda(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), stream_of(gpu)),
             "filling memory");
}

template <>
void copy_to_host(Gpu gpu, void* to, const void* from, i64 bytes) {
  refuse_while_recording("a copy to the host cannot be recorded");
  const cudaStream_t stream = stream_of(gpu);
  WrongValue wrong;
  check_cuda(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream),
      "a copy to the host");
  check_cuda(cudaMemcpyAsync(&wrong, wrong_value_of(gpu), sizeof(WrongValue),
                             cudaMemcpyDeviceToHost, stream),
             "a copy to the host");
  check_cuda(cudaStreamSynchronize(stream), "waiting for the device");
  if (wrong.found == WrongValue::none) return;
  check_cuda(cudaMemsetAsync(wrong_value_of(gpu), 0, sizeof(WrongValue), stream),
             "memory for errors");
  const std::string device = to_string(device_of(gpu));
  if (wrong.found == WrongValue::offset)
    fail("{}: offset {} is wrong; offsets must rise from 0 to the {} rows (found on {})", wrong.op,
         wrong.value, wrong.high - 1, device);
  fail("{}: {} is outside of 0 … {} (found on {})", wrong.op, wrong.value, wrong.high - 1, device);
}

template <>
void begin_recording(Gpu gpu) {
  check_cuda(cudaStreamBeginCapture(stream_of(gpu), cudaStreamCaptureModeThreadLocal),
             "beginning to record");
  recording = true;
}

template <>
void* end_recording(Gpu gpu) {
  recording = false;
  cudaGraph_t graph = nullptr;
  check_cuda(cudaStreamEndCapture(stream_of(gpu), &graph), "recording");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(error, "making what was recorded ready");
  return executable;
}

template <>
void abandon_recording(Gpu gpu) {
  recording = false;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_of(gpu), &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();  // what failed has been told
}

template <>
void replay(Gpu gpu, void* recording) {
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), stream_of(gpu)),
             "queueing what was recorded");
}

template <>
void forget_recording(Gpu, void* recording) {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

}  // namespace minima
