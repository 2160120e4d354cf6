/// The loops of core/each.hpp on a GPU. Included by `.cu` files, which end in a line that has them
/// written out for the functors of their op:
///
///     [[gnu::used, maybe_unused]] const auto kWrittenOut = std::tuple{rows_of<Softmax<float>>, …};
#pragma once

#include <tuple>

#include "core/cuda/block.hpp"
#include "core/each.hpp"

namespace minima {
namespace MINIMA_BACKEND {

/// A warp does a row: lane l takes the elements l, l + 32, …
struct Warp {
  static constexpr unsigned kRows = kThreads / 32;  ///< that a block does

  template <class F>
  __device__ void each(i64 n, const F& f) const {
    for (i64 i = threadIdx.x % 32; i < n; i += 32) f(i);
  }
  template <class Acc, class Merge, class F>
  __device__ Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    for (i64 i = threadIdx.x % 32; i < n; i += 32) start = merge(start, f(i));
    return warp_fold(start, merge);
  }
  __device__ bool owns(i64 i) const { return threadIdx.x % 32 == i % 32; }
  __device__ bool leads() const { return owns(0); }
};

/// A block does a row: thread t takes the elements t, t + kThreads, …
struct WholeBlock {
  static constexpr unsigned kRows = 1;

  template <class F>
  __device__ void each(i64 n, const F& f) const {
    for (i64 i = threadIdx.x; i < n; i += kThreads) f(i);
  }
  template <class Acc, class Merge, class F>
  __device__ Acc fold(i64 n, Acc start, const Merge& merge, const F& f) const {
    __shared__ Acc warps[kThreads / 32];
    for (i64 i = threadIdx.x; i < n; i += kThreads) start = merge(start, f(i));
    return block_fold(start, merge, warps);
  }
  __device__ bool owns(i64 i) const { return threadIdx.x == i % kThreads; }
  __device__ bool leads() const { return owns(0); }
};

template <class F>
__global__ void each_kernel(F f, i64 n) {
  const i64 stride = static_cast<i64>(gridDim.x) * kThreads;
  for (i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride) f(i);
}

template <class Team, class F>
__global__ void row_kernel(F f, i64 rows) {
  const i64 row =
      static_cast<i64>(blockIdx.x) * Team::kRows + threadIdx.x / (kThreads / Team::kRows);
  if (row < rows) f(Team{}, row);
}

inline constexpr i64 kWide = 1024;  ///< elements, from which on a row gets a block

}  // namespace MINIMA_BACKEND

template <AnyGpu Gpu, class F>
void each(Gpu gpu, i64 n, const F& f, i64) {
  using namespace MINIMA_BACKEND;
  launch(gpu, each_kernel<F>, (n + kThreads - 1) / kThreads, kThreads, 0, f, n);
}

template <AnyGpu Gpu, class F>
void each_row(Gpu gpu, i64 rows, i64 width, const F& f) {
  using namespace MINIMA_BACKEND;
  if (width >= kWide)
    launch(gpu, row_kernel<WholeBlock, F>, rows, kThreads, 0, f, rows);
  else
    launch(gpu, row_kernel<Warp, F>, (rows + Warp::kRows - 1) / Warp::kRows, kThreads, 0, f, rows);
}

/// The loop over elements or rows for F, by its address: taking it has it written out.
template <class F>
constexpr auto elements_of = &each<MINIMA_BACKEND::Gpu, F>;
template <class F>
constexpr auto rows_of = &each_row<MINIMA_BACKEND::Gpu, F>;

}  // namespace minima
