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
struct TeamOf : ops::InMemory {
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
      MINIMA_SHARED(Acc[kSize / 32], warps);
      return block_fold<kSize>(own, merge, warps);
    }
  }
};

using Warp = TeamOf<32>;
using WholeBlock = TeamOf<kThreads>;

inline constexpr i64 kMostHeld = 1024;  ///< numbers of a row in a team's registers

/// The k-th of the elements that a thread takes.
struct OwnElement {
  int k;
};

template <class T, int kFours>
struct HeldRow {
  T* row;
  Four<std::remove_const_t<T>> own[kFours];

  __device__ auto& operator[](OwnElement at) { return own[at.k / 4].x[at.k % 4]; }
  __device__ const auto& operator[](OwnElement at) const { return own[at.k / 4].x[at.k % 4]; }
};

/// A team that has rows of n ≤ kMostHeld numbers, n a multiple of 4, in its threads' registers: thread t the four from 4t on,
/// those from 4 (t + kSize) on, … What a thread does to an element, all have written out. A block has only as many warps
/// as have some.
template <unsigned kSize>
struct Holding : TeamOf<kSize> {
  static constexpr unsigned kBlocks = kSize == 32 ? 2 : 4;  // for which a processor has registers
  static constexpr int kFours = kMostHeld / 4 / kSize;
  template <class T>
  using Row = HeldRow<T, kFours>;

  template <class F>
  __device__ void each(i64 n, const F& f) const {
    each_four(n, [&](int, int k) MINIMA_INLINE { four(k, f); });
  }
  template <class Acc, class Merge, class F>
  __device__ Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    each(n, [&](OwnElement i) MINIMA_INLINE { start = merge(start, f(i)); });
    return this->merged(start, merge);
  }

  bool owns(i64) const = delete;  // a thread has four neighbours

  template <class T>
  __device__ Row<T> blank(i64, T* row) const {
    Row<T> result;
    result.row = row;
    return result;
  }
  template <class T>
  __device__ Row<T> held(i64 n, T* row) const {
    Row<T> result = blank(n, row);
    if (result.own[0].fits(row))
      each_four(n,
                [&](int i, int k) MINIMA_INLINE { result.own[k] = result.own[k].load(row + i); });
    else
      each_four(n, [&](int i, int k) MINIMA_INLINE {
        MINIMA_UNROLL for (int e = 0; e < 4; ++e) result.own[k].x[e] = row[i + e];
      });
    return result;
  }
  /// Rows that are written are those of tensors made for it, which lie as memory was allocated.
  template <class T>
  __device__ void store(i64 n, const Row<T>& values) const {
    each_four(n, [&](int i, int k) MINIMA_INLINE { values.own[k].store(values.row + i); });
  }

  /// f(i, whether i is kept), where keep_four(i, kept) says so of i, i + 16, i + 32 and i + 48 at once, for i mod 64 < 16: a
  /// lane asks for one of these sixteen, and hears of its own four from the others.
  template <class KeepFour, class F>
  __device__ void each_kept(i64 n, const KeepFour& keep_four, const F& f) const {
    const int lane = threadIdx.x % 32;
    each_four<32>(n, [&](int i, int k) MINIMA_INLINE {
      bool kept[4];
      keep_four(i - i % 64 + lane % 16, kept);
      u32 own = 0;
      MINIMA_UNROLL for (int word = 0; word < 4; ++word) {
        const u32 all = __ballot_sync(kAllLanes, kept[word]);
        if (lane % 16 / 4 == word) own = all >> (lane / 16 * 16 + lane % 4 * 4);
      }
      four(k, [&](OwnElement at) MINIMA_INLINE { f(at, (own >> at.k % 4 & 1) != 0); });
    });
  }

 private:
  /// f(i, k), where i is the first of the k-th four of this thread, for those within the row: or for all of which some thread
  /// of the `together` beside it has one within.
  template <int together = 1, class F>
  __device__ static void each_four(i64 n, const F& f) {
    const int own = 4 * static_cast<int>(TeamOf<kSize>::rank()), there = static_cast<int>(n);
    const auto one = [&](int k) MINIMA_INLINE {
      const int i = own + k * 4 * static_cast<int>(kSize);
      if (i - own % (4 * together) < there) f(i, k);
    };
    [&]<int... k>(std::integer_sequence<int, k...>) MINIMA_INLINE { (one(k), ...); }
    (std::make_integer_sequence<int, kFours>());
  }
  template <class F>
  __device__ static void four(int k, const F& f) {
    MINIMA_UNROLL for (int e = 0; e < 4; ++e) f(OwnElement{4 * k + e});
  }
};

template <class F>
__global__ void each_kernel(F f, i64 n) {
  const i64 stride = static_cast<i64>(gridDim.x) * kThreads;
  for (i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride) f(i);
}

/// A thread does a pack of elements.
template <InPacks F>
__global__ void packs_kernel(F f, i64 n) {
  const i64 i = F::kPack * (static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x);
  if (i + F::kPack <= n && f.in_packs()) {
    f.pack(i);
  } else {
    for (i64 k = i; k < i + F::kPack && k < n; ++k) f(k);
  }
}

template <class Team, class F>
__device__ void one_row(const F& f, i64 rows) {
  constexpr i64 kRows = kThreads / Team::kWidth;  // of a block
  const i64 row = kRows == 1 ? blockIdx.x : blockIdx.x * kRows + threadIdx.x / Team::kWidth;
  if (row < rows) f(Team{}, row);
}
template <class Team, class F>
__global__ void row_kernel(F f, i64 rows) {
  one_row<Team>(f, rows);
}
template <class Team, class F>
__global__ void __launch_bounds__(kThreads, Team::kBlocks) held_row_kernel(F f, i64 rows) {
  one_row<Team>(f, rows);
}

/// Elements, from which on a row gets a block; one that could be held but for their number gets it in any case, which spares
/// kernels.
inline constexpr i64 kWide = 512;

}  // namespace MINIMA_BACKEND

template <AnyGpu Gpu, class F>
void each(Gpu gpu, i64 n, const F& f, i64) {
  using namespace MINIMA_BACKEND;
  const auto blocks_of = [](i64 threads) { return ceil_div(threads, kThreads); };
  if constexpr (InPacks<F>)
    launch(gpu, packs_kernel<F>, blocks_of(ceil_div(n, F::kPack)), kThreads, 0, f, n);
  else
    launch(gpu, each_kernel<F>, blocks_of(n), kThreads, 0, f, n);
}

template <AnyGpu Gpu, class F>
void each_row(Gpu gpu, i64 rows, i64 width, const F& f) {
  using namespace MINIMA_BACKEND;
  const auto blocks_of = [rows](i64 width) { return ceil_div(width * rows, kThreads); };
  if constexpr (HoldsRows<F>) {
    using Held = Holding<F::kHolders>;
    if (const i64 n = f.held(); n > 0 && n % 4 == 0 && n <= kMostHeld)
      return launch(gpu, held_row_kernel<Held, F>, blocks_of(Held::kWidth),
                    Held::kWidth == 32 ? kThreads : ceil_div(n, 128) * 32, 0, f, rows);
  } else if (width < kWide) {
    return launch(gpu, row_kernel<Warp, F>, blocks_of(32), kThreads, 0, f, rows);
  }
  launch(gpu, row_kernel<WholeBlock, F>, rows, kThreads, 0, f, rows);
}

/// The loop over elements or rows for F, by its address: taking it has it written out.
template <class F>
constexpr auto elements_of = &each<MINIMA_BACKEND::Gpu, F>;
template <class F>
constexpr auto rows_of = &each_row<MINIMA_BACKEND::Gpu, F>;

}  // namespace minima
