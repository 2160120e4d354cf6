/// What a `.cu` file includes: the launch of a kernel and its dynamic shared memory, the only two
/// spellings of CUDA that a host compiler cannot read.
///
///     template <class Rule> __global__ void step_kernel(Rule rule, float* p, i64 n);
///     launch(step_kernel<AdamW>, blocks, threads, shared_bytes, rule, p, n);
///     float* scratch = MINIMA_DYNAMIC_SHARED(float);       // inside a kernel
///
/// Device code stands in `namespace minima::MINIMA_BACKEND`: `cuda` when nvcc compiles it, `emulated`
/// when the host compiler does, after the tests' own header of the same three names
/// (tests/emulated/device.hpp). So one binary may hold both.
#pragma once

#if defined(__CUDACC__)

#define MINIMA_BACKEND cuda

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima::cuda {

/// Starts `kernel` on the default stream. Throws Error (run time) when CUDA refuses the launch.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            Arguments... arguments) {
  if (grid.x == 0) return;
  kernel<<<grid, block, shared_bytes>>>(arguments...);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    fail_at_run_time("cuda: a kernel of {} blocks of {} threads cannot be started: {}", grid.x,
                     block.x, cudaGetErrorString(error));
}

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char minima_dynamic_shared[];
  return reinterpret_cast<T*>(minima_dynamic_shared);
}

}  // namespace minima::cuda

#define MINIMA_DYNAMIC_SHARED(T) ::minima::cuda::dynamic_shared<T>()

#elif !defined(MINIMA_BACKEND)
#error \
    "a .cu file is compiled by nvcc, or by the host compiler with -include tests/emulated/device.hpp"
#endif
