/// What a device has one of, besides its stream (core/cuda/launch.hpp).
#pragma once

#include "core/cuda/launch.hpp"

#if defined(__CUDACC__)
#include "core/cuda/cublas.hpp"
#endif

namespace minima::MINIMA_BACKEND {

inline Device device_of(Gpu gpu) { return {Device::Kind::MINIMA_BACKEND, gpu.index}; }

/// What a GPU has of each.
struct DeviceLimits {
  i64 multiprocessors, shared_bytes;  ///< shared memory: for one block of threads, when asked for
};
DeviceLimits limits_of(Gpu gpu);

cublasHandle_t blas_of(Gpu gpu);

inline void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail_at_run_time("cuda: {}: {}", what, cublasGetStatusString(status));
}

}  // namespace minima::MINIMA_BACKEND
