/// The integer names used everywhere, and the two function attributes that a kernel may carry.
#pragma once

#include <cstddef>
#include <cstdint>

namespace minima {

using i64 = std::int64_t;
using i32 = std::int32_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

}  // namespace minima

/// A function that is part of a kernel: it is compiled for the host and, by nvcc, for the device.
/// It is always inlined, because GCC does not vectorize a loop around a call (see
/// core/cpu/simd.hpp).
#if defined(__CUDACC__)
#define MINIMA_HD __host__ __device__ __forceinline__
#else
#define MINIMA_HD [[gnu::always_inline]] inline
#endif
