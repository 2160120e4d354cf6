/// What the threads of a block do together. Included by `.cu` files after core/cuda/launch.hpp.
#pragma once

#include "core/cuda/launch.hpp"
#include "core/ops/row.hpp"

namespace minima::MINIMA_BACKEND {

inline constexpr unsigned kThreads = 256;  ///< of a block
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// The value of the lane whose number differs by the bits of `lanes`.
template <class T>
__device__ T across(T value, int lanes) {
  return __shfl_xor_sync(kAllLanes, value, lanes);
}
template <class T>
__device__ ops::TwoSums<T> across(ops::TwoSums<T> value, int lanes) {
  return {across(value.first, lanes), across(value.second, lanes)};
}

/// The lanes' values merged, for all of them: by halves, so `merge` must not mind the order.
template <class T, class Merge>
__device__ T warp_fold(T value, const Merge& merge) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value = merge(value, across(value, lanes));
  return value;
}

/// The values of a block's threads, at most kSize, merged, for all of them: within each warp, then the warps in order. `warps` is
/// shared memory for one value of each warp.
template <unsigned kSize = kThreads, class T, class Merge>
__device__ T block_fold(T value, const Merge& merge, T* warps) {
  value = warp_fold(value, merge);
  __syncthreads();  // the last fold's values have been read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  T result = warps[0];
  MINIMA_UNROLL for (unsigned warp = 1; warp < kSize / 32; ++warp) if (32 * warp < blockDim.x)
      result = merge(result, warps[warp]);
  return result;
}

/// The largest of the lanes' numbers, for all of them.
__device__ inline u32 warp_largest(u32 value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kAllLanes, value);
#else
  return warp_fold(value, [](u32 a, u32 b) { return a < b ? b : a; });
#endif
}

/// 1/x but for the last two bits, for x between 2⁻¹²⁶ and 2¹²⁶.
__device__ inline float about_inverse(float x) {
#if defined(__CUDA_ARCH__)
  return __fdividef(1.0f, x);
#else
  return 1 / x;
#endif
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

}  // namespace minima::MINIMA_BACKEND
