/// The integer names used everywhere, the function attribute that a kernel carries, and division upwards.
#pragma once

#include <cstddef>
#include <cstdint>

/// A function that is part of a kernel: it is compiled for the host and, by nvcc, for the device.
/// It is always inlined, because GCC does not vectorize a loop around a call (see
/// core/cpu/simd.hpp).
#if defined(__CUDACC__)
#define MINIMA_HD __host__ __device__ __forceinline__
#else
#define MINIMA_HD [[gnu::always_inline]] inline
#endif

namespace minima {

using i64 = std::int64_t;
using i32 = std::int32_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// ⌈x / by⌉, and the least multiple of `unit` from x on, for x ≥ 0.
MINIMA_HD constexpr i64 ceil_div(i64 x, i64 by) { return (x + by - 1) / by; }
MINIMA_HD constexpr i64 round_up(i64 x, i64 unit) { return ceil_div(x, unit) * unit; }

}  // namespace minima
