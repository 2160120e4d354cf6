/// The loops of core/each.hpp on a GPU. Included by `.cu` files, which end in a line that has them
/// written out for the functors of ops:
///
///     [[gnu::used, maybe_unused]] const auto kWrittenOut = std::tuple{rows_of<Softmax<float>>, …};
#pragma once

#include <tuple>
#include <utility>

#include "core/cuda/block.hpp"
#include "core/each.hpp"

namespace minima {
namespace MINIMA_BACKEND {

/// A warp, or a block of kSize threads, does a row: thread t of them takes the elements t, t + kSize, …
template <unsigned kSize>
struct TeamOf {
  static constexpr i64 kWidth = kSize;

  __device__ static i64 rank() { return threadIdx.x % kSize; }

  template <class F>
  __device__ void each(i64 n, const F& f) const {
    for (i64 i = rank(); i < n; i += kSize) f(i);
  }
  template <class Acc, class Merge, class F>
  __device__ Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    each(n, [&](i64 i) MINIMA_INLINE { start = merge(start, f(i)); });
    return merged(start, merge);
  }
  __device__ bool owns(i64 i) const { return rank() == i % kSize; }
  __device__ bool leads() const { return owns(0); }

 protected:
  template <class Acc, class Merge>
  __device__ static Acc merged(Acc own, const Merge& merge) {
    if constexpr (kSize == 32) {
      return warp_fold(own, merge);
    } else {
      __shared__ Acc warps[kSize / 32];
      return block_fold<kSize>(own, merge, warps);
    }
  }
};

/// An element by its index, and as the k-th of those that its thread takes.
struct OwnElement {
  i64 i;
  int k;
  MINIMA_HD operator i64() const { return i; }
};

/// A row's values in the registers of the team's threads; what their loops do not have written out, which few rows are
/// long enough for, in memory.
template <class T>
struct HeldRow {
  static constexpr int kMost = 16;
  const T* row;
  T own[kMost];

  __device__ T operator[](OwnElement at) const { return at.k < kMost ? own[at.k] : row[at.i]; }
};

/// A team that holds rows. Its loops are written out, so that it is known which register an element is in.
template <class Team>
struct Holding : Team {
  static constexpr int kMost = HeldRow<float>::kMost, kWrittenOut = Team::kWidth == 32 ? kMost : 4;

  template <class F>
  __device__ void each(i64 n, const F& f) const {
    constexpr i64 kSize = Team::kWidth;
    const auto element = [&](int k) MINIMA_INLINE {
      if (const i64 i = Team::rank() + k * kSize; i < n) f(OwnElement{i, k});
    };
    [&]<int... k>(std::integer_sequence<int, k...>) MINIMA_INLINE { (element(k), ...); }
    (std::make_integer_sequence<int, kWrittenOut>());
    for (i64 i = Team::rank() + kWrittenOut * kSize; i < n; i += kSize) f(OwnElement{i, kMost});
  }
  template <class Acc, class Merge, class F>
  __device__ Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    each(n, [&](OwnElement i) MINIMA_INLINE { start = merge(start, f(i)); });
    return Team::merged(start, merge);
  }
  template <class T>
  __device__ HeldRow<T> held(i64 n, const T* row) const {
    HeldRow<T> result;
    result.row = row;
    each(n, [&](OwnElement i) MINIMA_INLINE {
      if (i.k < kMost) result.own[i.k] = row[i];
    });
    return result;
  }
};

struct Warp : TeamOf<32> {
  __device__ Holding<Warp> holding() const { return {}; }
};
struct WholeBlock : TeamOf<kThreads> {
  __device__ Holding<WholeBlock> holding() const { return {}; }
};

template <class F>
__global__ void each_kernel(F f, i64 n) {
  const i64 stride = static_cast<i64>(gridDim.x) * kThreads;
  for (i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride) f(i);
}

/// A thread does four elements.
template <InFours F>
__global__ void fours_kernel(F f, i64 n) {
  const i64 i = 4 * (static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x);
  if (i + 4 <= n && f.in_fours()) {
    f.four(i);
  } else {
    for (i64 k = i; k < i + 4 && k < n; ++k) f(k);
  }
}

template <class Team, class F>
__global__ void row_kernel(F f, i64 rows) {
  constexpr i64 kRows = kThreads / Team::kWidth;  // of a block
  const i64 row = blockIdx.x * kRows + threadIdx.x / Team::kWidth;
  if (row < rows) f(Team{}, row);
}

inline constexpr i64 kWide = 512;  ///< elements, from which on a row gets a block

}  // namespace MINIMA_BACKEND

template <AnyGpu Gpu, class F>
void each(Gpu gpu, i64 n, const F& f, i64) {
  using namespace MINIMA_BACKEND;
  const auto blocks_of = [](i64 threads) { return (threads + kThreads - 1) / kThreads; };
  if constexpr (InFours<F>)
    launch(gpu, fours_kernel<F>, blocks_of((n + 3) / 4), kThreads, 0, f, n);
  else
    launch(gpu, each_kernel<F>, blocks_of(n), kThreads, 0, f, n);
}

template <AnyGpu Gpu, class F>
void each_row(Gpu gpu, i64 rows, i64 width, const F& f) {
  using namespace MINIMA_BACKEND;
  if (width >= kWide)
    launch(gpu, row_kernel<WholeBlock, F>, rows, kThreads, 0, f, rows);
  else
    launch(gpu, row_kernel<Warp, F>, (32 * rows + kThreads - 1) / kThreads, kThreads, 0, f, rows);
}

/// The loop over elements or rows for F, by its address: taking it has it written out.
template <class F>
constexpr auto elements_of = &each<MINIMA_BACKEND::Gpu, F>;
template <class F>
constexpr auto rows_of = &each_row<MINIMA_BACKEND::Gpu, F>;

}  // namespace minima
