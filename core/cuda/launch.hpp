/// What a `.cu` file includes: the launch of a kernel, its shared memory and the unrolling of a loop, the
/// only spellings of CUDA that a host compiler cannot read.
///
///     template <class Rule> __global__ void step_kernel(Rule rule, float* p, i64 n);
///     launch(gpu, step_kernel<AdamW>, blocks, threads, shared_bytes, rule, p, n);
///     float* scratch = MINIMA_DYNAMIC_SHARED(float);       // inside a kernel
///     MINIMA_SHARED(double[32], sums);                     // double sums[32], the block's
///     MINIMA_UNROLL for (int i = 0; i < 4; ++i) sums[i] = 0;    // whose array then lies in registers
///
/// Device code stands in `namespace minima::MINIMA_BACKEND` or is a template on its `Gpu`: that of
/// `cuda` when nvcc compiles it, of `emulated` when the host compiler does, after the tests' own
/// header of CUDA's names (tests/emulated/device/device.hpp). So one binary may hold both.
#pragma once

#include <type_traits>

#if defined(__CUDACC__)

#define MINIMA_BACKEND cuda
#define MINIMA_SHARED(T, name) __shared__ std::type_identity_t<T> name
#define MINIMA_DYNAMIC_SHARED(T) ::minima::cuda::dynamic_shared<T>()
#define MINIMA_UNROLL _Pragma("unroll")

namespace minima::cuda {

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char minima_dynamic_shared[];
  return reinterpret_cast<T*>(minima_dynamic_shared);
}

}  // namespace minima::cuda

#elif !defined(MINIMA_BACKEND)
#error \
    "a .cu file is compiled by nvcc, or by the host compiler with -include tests/emulated/device/device.hpp"
#endif

#include "core/device.hpp"
#include "core/types.hpp"

namespace minima::MINIMA_BACKEND {

/// The stream on which everything of this device is queued. Makes the device the thread's current one.
cudaStream_t stream_of(Gpu gpu);

/// The Error of a call that failed, where `what` was tried: of run time, or for want of memory.
inline Error failure(cudaError_t error, const std::string& what) {
  cudaGetLastError();  // else the next launch would be blamed for it
  return Error(fmt::format("cuda: {}: {}", what, cudaGetErrorString(error)),
               error == cudaErrorMemoryAllocation ? Fault::memory : Fault::runtime);
}

/// Throws that Error unless the call succeeded.
inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw failure(error, what);
}

/// Bytes of shared memory that every GPU gives a block of threads; more only when asked for.
inline constexpr i64 kUnaskedShared = 48 << 10;

/// Queues `kernel` over `blocks` blocks of `threads` threads; nothing for no blocks. Throws Error when the device refuses the
/// launch.
template <class... Parameters, class... Arguments>
void launch(Gpu gpu, void (*kernel)(Parameters...), i64 blocks, unsigned threads,
            std::size_t shared_bytes, Arguments... arguments) {
  static_assert((std::is_trivially_copyable_v<Arguments> && ...), "a GPU is handed their bytes");
  if (blocks == 0) return;
  check(blocks < i64{1} << 31, "cuda: a kernel of {} blocks; a smaller batch needs fewer", blocks);
  const dim3 grid(static_cast<unsigned>(blocks));
  const cudaStream_t stream = stream_of(gpu);
  // What the kernel has besides, fixed when it was compiled, counts too.
  if (2 * shared_bytes > std::size_t{kUnaskedShared})
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "asking for shared memory");
#if defined(__CUDACC__)
  kernel<<<grid, threads, shared_bytes, stream>>>(arguments...);
#else
  start({grid, threads, shared_bytes, reinterpret_cast<const void*>(kernel),
         [=] { kernel(arguments...); }},
        stream);
#endif
  const cudaError_t error = cudaGetLastError();
  if (error == cudaErrorNoKernelImageForDevice)
    fail_at_run_time(
        "device {}: this program holds no kernels for such a GPU; build it with "
        "-DMINIMA_CUDA_ARCHITECTURES= what nvidia-smi --query-gpu=compute_cap --format=csv says, "
        "without the point, or take the cpu (--device cpu)",
        to_string({Device::Kind::MINIMA_BACKEND, gpu.index}));
  if (error != cudaSuccess)
    throw failure(error, fmt::format("a kernel of {} blocks of {} threads cannot be started",
                                     blocks, threads));
}

}  // namespace minima::MINIMA_BACKEND
