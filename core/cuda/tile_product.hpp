/// Products of small matrices in a GPU's shared memory, by the 32 lanes of a warp together: of f32 and f64 by fused
/// multiply-adds, of bf16 and f16 with sums in f32 by its units for such products (tensor cores), which all GPUs from
/// compute capability 8.0 on have. Included by `.cu` files.
///
/// A matrix in shared memory has D columns in rows of kRowOf<T, D> numbers. Sums [16 × 8 N] are shared out among the lanes:
/// with g = lane / 4 and t = lane % 4, sums[n][e] of a lane stands in
///
///     row g + 8 (e / 2),  column 8 n + 2 t + e % 2
#pragma once

#include <cmath>

#include "core/cuda/block.hpp"
#include "core/dtype.hpp"
#include "core/pack.hpp"

namespace minima::MINIMA_BACKEND {

template <class T, int N>
using Sums = Widened<T>[N][4];

/// Numbers that a thread moves at a time, 16 bytes.
template <class T>
inline constexpr int kPerWord = 16 / sizeof(T);
template <class T>
using Word = Pack<T, kPerWord<T>>;
/// A word more than its numbers, so that the rows' beginnings lie in different banks.
template <class T, int D>
inline constexpr int kRowOf = D + kPerWord<T>;

/// f(n, e) for each of a lane's sums.
template <int N, class F>
__device__ void each_sum(const F& f) {
  MINIMA_UNROLL for (int n = 0; n < N; ++n) { MINIMA_UNROLL for (int e = 0; e < 4; ++e) f(n, e); }
}
/// Where it stands.
__device__ inline int row_of(int e) { return threadIdx.x % 32 / 4 + e / 2 * 8; }
__device__ inline int column_of(int n, int e) { return 8 * n + threadIdx.x % 4 * 2 + e % 2; }

// ---- tensor cores

/// Two numbers in a register, the first in its low half.
template <class T>
__device__ u32 packed(T low, T high) {
  return low.bits | static_cast<u32>(high.bits) << 16;
}
template <class T>
__device__ u32 rounded_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  u32 pair;
  if constexpr (std::is_same_v<T, bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return packed(T(low), T(high));
#endif
}

/// multiply_add, below, in plain arithmetic: for older GPUs.
template <class T>
[[gnu::noinline]] __device__ void multiply_add_by_shuffles(float (&sums)[4], const u32 (&a)[4],
                                                           const u32 (&b)[2]) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const auto both = [](u32 low, u32 high) { return low | static_cast<u64>(high) << 32; };
  for (int from = 0; from < 4;
       ++from) {  // it has columns (of b: rows) 2 from, 2 from + 1, and 8 behind
    const u64 rows[2] = {__shfl_sync(kAllLanes, both(a[0], a[2]), 4 * g + from),
                         __shfl_sync(kAllLanes, both(a[1], a[3]), 4 * g + from)};
    const u64 columns[2] = {__shfl_sync(kAllLanes, both(b[0], b[1]), 8 * t + from),
                            __shfl_sync(kAllLanes, both(b[0], b[1]), 8 * t + 4 + from)};
    const auto number = [](u64 four, int k) {
      T x;
      x.bits = static_cast<u16>(four >> (16 * k));
      return static_cast<float>(x);
    };
    for (int e = 0; e < 4; ++e)
      for (int k = 0; k < 4; ++k) sums[e] += number(rows[e / 2], k) * number(columns[e % 2], k);
  }
}

/// sums [16 × 8] += a [16 × 16] b [16 × 8]. A lane has, in pairs, of a the rows g, g + 8, g, g + 8 at columns 2 t, 2 t,
/// 2 t + 8, 2 t + 8, and of b the column g at rows 2 t, 2 t + 8.
template <class T>
__device__ void multiply_add(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, bf16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  multiply_add_by_shuffles<T>(sums, a, b);
#endif
}

// ---- products

/// sums += a bᵀ, for a [16 × D] and b [8 N × D] in shared memory.
template <int D, class T, int N>
__device__ void add_product_with_transposed(Widened<T> (&sums)[N][4], const T* a, const T* b) {
  constexpr int kRow = kRowOf<T, D>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  if constexpr (Narrow<T>) {
    const auto pair = [t](const T* row, int column) {
      return *reinterpret_cast<const u32*>(row + column + 2 * t);
    };
    MINIMA_UNROLL for (int k = 0; k < D; k += 16) {
      const T *const upper = a + g * kRow, *const lower = upper + 8 * kRow;
      const u32 of_a[4] = {pair(upper, k), pair(lower, k), pair(upper, k + 8), pair(lower, k + 8)};
      MINIMA_UNROLL for (int n = 0; n < N; ++n) {
        const T* const column = b + (8 * n + g) * kRow;
        const u32 of_b[2] = {pair(column, k), pair(column, k + 8)};
        multiply_add<T>(sums[n], of_a, of_b);
      }
    }
  } else {
    for (int k = 0; k < D; k += kPerWord<T>) {
      const auto upper = Word<T>::load(a + g * kRow + k),
                 lower = Word<T>::load(a + (g + 8) * kRow + k);
      MINIMA_UNROLL for (int n = 0; n < N; ++n) MINIMA_UNROLL for (int e = 0; e < 2; ++e) {
        const auto column = Word<T>::load(b + (8 * n + 2 * t + e) * kRow + k);
        MINIMA_UNROLL for (int i = 0; i < kPerWord<T>; ++i) {
          sums[n][e] = std::fma(upper.x[i], column.x[i], sums[n][e]);
          sums[n][e + 2] = std::fma(lower.x[i], column.x[i], sums[n][e + 2]);
        }
      }
    }
  }
}

/// sums [16 × D] += a b, for a [16 × 8 N], shared out as sums are, and b [8 N × D] in shared memory. Narrow: a is rounded.
template <class T, int M, int N>
__device__ void add_product(Widened<T> (&sums)[M][4], const Widened<T> (&a)[N][4], const T* b) {
  constexpr int kRow = kRowOf<T, 8 * M>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  if constexpr (Narrow<T>) {
    MINIMA_UNROLL for (int n = 0; n < N; n += 2) {
      const u32 of_a[4] = {rounded_pair<T>(a[n][0], a[n][1]), rounded_pair<T>(a[n][2], a[n][3]),
                           rounded_pair<T>(a[n + 1][0], a[n + 1][1]),
                           rounded_pair<T>(a[n + 1][2], a[n + 1][3])};
      const T* const rows = b + (8 * n + 2 * t) * kRow + g;
      MINIMA_UNROLL for (int m = 0; m < M; ++m) {
        const T* const at = rows + 8 * m;
        const u32 of_b[2] = {packed(at[0], at[kRow]), packed(at[8 * kRow], at[9 * kRow])};
        multiply_add<T>(sums[m], of_a, of_b);
      }
    }
  } else {
    using R = Widened<T>;
    MINIMA_UNROLL for (int n = 0; n < N; ++n) MINIMA_UNROLL for (int j = 0; j < 8; ++j) {
      const R upper = __shfl_sync(kAllLanes, a[n][j % 2], lane / 4 * 4 + j / 2),
              lower = __shfl_sync(kAllLanes, a[n][j % 2 + 2], lane / 4 * 4 + j / 2);
      const T* const row = b + (8 * n + j) * kRow + 2 * t;
      MINIMA_UNROLL for (int m = 0; m < M; ++m) {
        const auto two = Pack<R, 2>::load(row + 8 * m);
        MINIMA_UNROLL for (int e = 0; e < 2; ++e) {
          sums[m][e] = std::fma(upper, two.x[e], sums[m][e]);
          sums[m][e + 2] = std::fma(lower, two.x[e], sums[m][e + 2]);
        }
      }
    }
  }
}

}  // namespace minima::MINIMA_BACKEND
