#include <mutex>
#include <vector>

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
  static std::vector<Context>& contexts = *new std::vector<Context>;
  const std::lock_guard lock(mutex);
  if (contexts.empty()) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0)
      fail_at_run_time("device {}: {}", to_string(device_of(gpu)),
                       error == cudaSuccess ? "there is no GPU" : cudaGetErrorString(error));
    contexts.resize(static_cast<std::size_t>(count));
  }
  const auto count = static_cast<int>(contexts.size());
  check(gpu.index >= 0 && gpu.index < count, "device {}: there {} {}, counted from 0",
        to_string(device_of(gpu)), count == 1 ? "is" : "are", count);
  check_cuda(cudaSetDevice(gpu.index), "choosing the device");
  Context& context = contexts[static_cast<std::size_t>(gpu.index)];
  if (context.stream) return context;
  check_cuda(cudaStreamCreateWithFlags(&context.stream, cudaStreamNonBlocking), "making a stream");
  void* wrong = nullptr;
  check_cuda(cudaMalloc(&wrong, sizeof(WrongValue)), "memory for errors");
  context.wrong = static_cast<WrongValue*>(wrong);
  check_cuda(cudaMemsetAsync(wrong, 0, sizeof(WrongValue), context.stream), "memory for errors");
  check_cublas(cublasCreate(&context.blas), "starting cuBLAS");
  check_cublas(cublasSetStream(context.blas, context.stream), "starting cuBLAS");
  return context;
}

}  // namespace

cudaStream_t stream_of(Gpu gpu) { return context_of(gpu).stream; }
cublasHandle_t blas_of(Gpu gpu) { return context_of(gpu).blas; }
WrongValue* wrong_value_of(Gpu gpu) { return context_of(gpu).wrong; }

}  // namespace MINIMA_BACKEND

using namespace MINIMA_BACKEND;

template <>
void require_present(Gpu gpu) {
  stream_of(gpu);
}

template <>
std::byte* obtain(Gpu gpu, i64 bytes) {
  stream_of(gpu);
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
  const cudaStream_t stream = stream_of(gpu);
  WrongValue wrong;
  check_cuda(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream),
      "a copy to the host");
  check_cuda(cudaMemcpyAsync(&wrong, wrong_value_of(gpu), sizeof(WrongValue),
                             cudaMemcpyDeviceToHost, stream),
             "a copy to the host");
  check_cuda(cudaStreamSynchronize(stream), "waiting for the device");
  if (wrong.found == 0) return;
  check_cuda(cudaMemsetAsync(wrong_value_of(gpu), 0, sizeof(WrongValue), stream),
             "memory for errors");
  fail("{}: {} is outside of 0 … {} (found on {})", wrong.op, wrong.value, wrong.high - 1,
       to_string(device_of(gpu)));
}

}  // namespace minima
