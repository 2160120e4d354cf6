/// Products of small matrices in a GPU's shared memory, by the 32 lanes of a warp together: of f32 and f64 by fused
/// multiply-adds, of bf16 and f16 with sums in f32 by its units for such products (tensor cores), which all GPUs from
/// compute capability 8.0 on have; of f32 too where its operands may be rounded (Operands::tf32). Included by `.cu` files.
///
/// A matrix in shared memory has D columns, a multiple of 32, in rows of kRowOf<T, D> numbers. Sums [16 × 8 N] are shared out among the lanes:
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
using TileSums = Widened<T>[N][4];

/// What products are taken of: the numbers themselves, or, of f32, what TF32 leaves of them: ten bits behind the leading one.
enum class Operands { exact, tf32 };

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

/// What lies so in b in memory: the shares of two neighbouring b.
struct TwoShares {
  u32 first[2], second[2];
};

/// The lane's share of a matrix [16 × 16] in shared memory, whose rows begin kRow numbers apart, as multiply_add takes a.
template <int kRow, class T>
__device__ void load_share(u32 (&share)[4], const T* matrix) {
  const int lane = threadIdx.x % 32;
#if defined(__CUDA_ARCH__)
  const auto at =
      static_cast<u32>(__cvta_generic_to_shared(matrix + lane % 16 * kRow + lane / 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(share[0]), "=r"(share[1]), "=r"(share[2]), "=r"(share[3])
               : "r"(at)
               : "memory");
#else
  const T* const own = matrix + lane / 4 * kRow + lane % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    const T* const two = own + i % 2 * 8 * kRow + i / 2 * 8;
    share[i] = packed(two[0], two[1]);
  }
#endif
}
/// As b is taken, twice: of the columns up to 8, and of those behind.
template <int kRow, class T>
__device__ TwoShares load_shares(const T* matrix) {
  const int lane = threadIdx.x % 32;
  TwoShares x;
#if defined(__CUDA_ARCH__)
  const auto at =
      static_cast<u32>(__cvta_generic_to_shared(matrix + lane % 16 * kRow + lane / 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.first[0]), "=r"(x.first[1]), "=r"(x.second[0]), "=r"(x.second[1])
               : "r"(at)
               : "memory");
#else
  const T* const own = matrix + lane % 4 * 2 * kRow + lane / 4;
  for (int i = 0; i < 2; ++i) {
    const T* const two = own + 8 * i * kRow;
    x.first[i] = packed(two[0], two[kRow]);
    x.second[i] = packed(two[8], two[kRow + 8]);
  }
#endif
  return x;
}
/// And of the matrix transposed, so that its rows are columns of b.
template <int kRow, class T>
__device__ TwoShares load_transposed_shares(const T* matrix) {
  u32 share[4];
  load_share<kRow>(share, matrix);
  return {{share[0], share[2]}, {share[1], share[3]}};
}

/// What TF32 leaves of x.
__device__ inline u32 tf32_of(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  u32 bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  const u32 bits = std::bit_cast<u32>(x);
  return x == x ? (bits + 0x1000u) & 0xffffe000u : bits;
#endif
}

/// sums [16 × 8] += a [16 × 8] b [8 × 8], of TF32. A lane has of a the rows g, g + 8, g, g + 8 at columns t, t, t + 4, t + 4,
/// and of b the column g at rows t, t + 4.
__device__ inline void multiply_add_tf32(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (int from = 0; from < 8; ++from) {  // a column of a, a row of b
    const auto from_lane = [&](u32 value, int other) {
      return std::bit_cast<float>(__shfl_sync(kAllLanes, value, other));
    };
    const int high = from / 4;
    const float rows[2] = {from_lane(a[2 * high], 4 * g + from % 4),
                           from_lane(a[2 * high + 1], 4 * g + from % 4)};
    const float columns[2] = {from_lane(b[high], 8 * t + from % 4),
                              from_lane(b[high], 8 * t + 4 + from % 4)};
    for (int e = 0; e < 4; ++e) sums[e] += rows[e / 2] * columns[e % 2];
  }
#endif
}

// ---- products

/// sums += a bᵀ, for a [16 × D] and b [8 N × D] in shared memory.
template <int D, Operands kOperands = Operands::exact, class T, int N>
__device__ void add_product_with_transposed(Widened<T> (&sums)[N][4], const T* a, const T* b) {
  constexpr int kRow = kRowOf<T, D>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  if constexpr (Narrow<T>) {
    MINIMA_UNROLL for (int k = 0; k < D; k += 16) {
      u32 of_a[4];
      load_share<kRow>(of_a, a + k);
      MINIMA_UNROLL for (int n = 0; n < N; n += 2) {
        const TwoShares of_b = load_transposed_shares<kRow>(b + 8 * n * kRow + k);
        multiply_add<T>(sums[n], of_a, of_b.first);
        multiply_add<T>(sums[n + 1], of_a, of_b.second);
      }
    }
  } else if constexpr (kOperands == Operands::tf32) {
    // Which eight columns are multiplied at once is free; these lie in different banks.
    MINIMA_UNROLL for (int step = 0; step < D / 8; ++step) {
      const int column = step / 4 * 32 + step % 4 * 4 + t % 2 * 2 + t / 2 * 16;
      const auto pair = [&](const T* row) { return Pack<T, 2>::load(row + column); };
      const auto upper = pair(a + g * kRow), lower = pair(a + (g + 8) * kRow);
      const u32 of_a[4] = {tf32_of(upper.x[0]), tf32_of(lower.x[0]), tf32_of(upper.x[1]),
                           tf32_of(lower.x[1])};
      MINIMA_UNROLL for (int n = 0; n < N; ++n) {
        const auto two = pair(b + (8 * n + g) * kRow);
        const u32 of_b[2] = {tf32_of(two.x[0]), tf32_of(two.x[1])};
        multiply_add_tf32(sums[n], of_a, of_b);
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
template <class T, Operands kOperands = Operands::exact, int M, int N>
__device__ void add_product(Widened<T> (&sums)[M][4], const Widened<T> (&a)[N][4], const T* b) {
  constexpr int kRow = kRowOf<T, 8 * M>;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  if constexpr (Narrow<T>) {
    MINIMA_UNROLL for (int n = 0; n < N; n += 2) {
      const u32 of_a[4] = {rounded_pair<T>(a[n][0], a[n][1]), rounded_pair<T>(a[n][2], a[n][3]),
                           rounded_pair<T>(a[n + 1][0], a[n + 1][1]),
                           rounded_pair<T>(a[n + 1][2], a[n + 1][3])};
      MINIMA_UNROLL for (int m = 0; m < M; m += 2) {
        const TwoShares of_b = load_shares<kRow>(b + 8 * n * kRow + 8 * m);
        multiply_add<T>(sums[m], of_a, of_b.first);
        multiply_add<T>(sums[m + 1], of_a, of_b.second);
      }
    }
  } else if constexpr (kOperands == Operands::tf32) {
    // Its columns 2 t and 2 t + 1 stand for t and t + 4.
    MINIMA_UNROLL for (int n = 0; n < N; ++n) {
      const u32 of_a[4] = {tf32_of(a[n][0]), tf32_of(a[n][2]), tf32_of(a[n][1]), tf32_of(a[n][3])};
      const T* const rows = b + (8 * n + 2 * t) * kRow + g;
      MINIMA_UNROLL for (int m = 0; m < M; ++m) {
        const u32 of_b[2] = {tf32_of(rows[8 * m]), tf32_of(rows[8 * m + kRow])};
        multiply_add_tf32(sums[m], of_a, of_b);
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
