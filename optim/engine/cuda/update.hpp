/// How a block of threads updates weights and state: four elements at a time for each thread, and what is in
/// block8 in one of two ways. Where every slot is in blocks of kWarpBlock beside fp32 weights, a warp holds a block in
/// its registers; else fresh values wait in shared memory until the largest of their block is known.
#pragma once

#include "optim/clip.hpp"
#include "optim/engine/cuda/quads.hpp"

namespace minima::MINIMA_BACKEND {

/// Values that a block of threads updates at a time, without block8 and with it; with it in whole blocks, so that it
/// can be less, or one block more.
inline constexpr u32 kStretch = 16 * kThreads, kBlock8Stretch = 8 * kThreads,
                     kLeastStretch = 4 * kThreads;
/// Blocks of block8 in a stretch, at most.
inline constexpr u32 kMostBlocks = kBlock8Stretch / kSmallestBlock;

/// A block of so many values a warp holds in its registers: eight for a lane.
inline constexpr u32 kWarpBlock = 256;

/// Shared memory of an update where slots are in block8: of each its codes and its fresh values, and its numbers for each
/// block; what an update reads of a view.
MINIMA_HD i64 asked_shared(std::size_t slots, u32 stretch) {
  return static_cast<i64>(slots * (sizeof(CompactCodes) + stretch * sizeof(float)));
}
MINIMA_HD i64 static_shared(std::size_t slots) {
  return static_cast<i64>((slots + 2) * kMostBlocks * sizeof(u32) + sizeof(Columns<kMaxSlots>));
}

/// The values of a stretch, where slots are in blocks of so many; as many as fit in what every GPU has, but some for each
/// thread.
MINIMA_HD u32 stretch_of(u32 block, std::size_t slots) {
  if (block == 0) return kStretch;
  const u32 least = block < kLeastStretch ? kLeastStretch : block;
  u32 stretch = kBlock8Stretch / block * block;
  while (stretch > least && asked_shared(slots, stretch) + static_shared(slots) > kUnaskedShared)
    stretch -= block;
  return stretch > block ? stretch : block;
}

/// f(row, j, e) for the N elements from `at` on: what Formula is told of their row, their column, and 0 … N − 1.
template <int N, class Formula, class F>
__device__ void walk_rows(const Factors& factors, i64 at, i64 width, const F& f) {
  i64 i = quotient(at, width), j = at - i * width;
  MatrixRow row = row_for<Formula>(factors, i);
  for (int e = 0; e < N; ++e) {
    f(row, j, e);
    if (e + 1 < N && ++j == width) row = row_for<Formula>(factors, ++i), j = 0;
  }
}

/// The update of neighbouring stretches of one parameter. Elements and blocks are counted from the first of them.
template <class Formula, std::size_t... K>
struct Update {
  static constexpr int kSlots = sizeof...(K);
  template <int N>
  using State = float[kSlots + 1][N];

  /// What a block of threads tells itself of each block of a stretch: the largest magnitudes, and whether it has moved.
  struct Shared {
    u32 largest[kSlots + 1][kMostBlocks], moved[kMostBlocks];
  };

  const Columns<kSlots>& columns;
  const Formula formula;
  const Factors factors;
  const Guard guard;
  const CompactCodes* codes;  ///< of each slot
  Outcome* outcome;

  /// Of N elements from k on, which are decoded: what the formula makes of them. Stores the weights.
  template <int N>
  __device__ __forceinline__ void advance(i64 k, Storage storage, float (&p)[N],
                                          const float (&g)[N], State<N>& state) const {
    float before[N];
    for (int e = 0; e < N; ++e) before[e] = p[e];
    const auto change = [&](const MatrixRow& row, i64 j, int e) {
      apply_formula(formula, row, j, p[e], g[e], state[K][e]...);
    };
    walk_rows<N, Formula>(factors, columns.first + k, columns.width, change);
    if (guard.on())
      for (int e = 0; e < N; ++e) {
        if (guard.passes(g[e])) continue;
        p[e] = before[e];
        for (int s = 0; s < kSlots; ++s) state[s][e] = 0;
      }
    bool bad = false;
    for (int e = 0; e < N; ++e) bad |= !(std::abs(p[e]) < columns.end_of_weights);
    if (bad) atomicExch(&outcome->bad_weights, 1u);
    store(columns.value.as(storage), k, p);
  }

  /// A block of kWarpBlock values, which a warp has in its registers, each lane two quads.
  __device__ __forceinline__ void block_of_warp(u32 b) const {
    constexpr int kQuads = kWarpBlock / 128;
    const u32 lane = threadIdx.x % 32;
    const auto place = [=](int q) { return b * kWarpBlock + 128 * q + 4 * lane; };
    Raw<4> value[kQuads], gradient[kQuads], slots[kQuads][kSlots + 1];
    for (int q = 0; q < kQuads; ++q) {
      value[q] = load<4>(columns.value.as(Storage::fp32), place(q));
      gradient[q] = load<4>(columns.gradient.as(Storage::fp32), place(q));
      for (int s = 0; s < kSlots; ++s)
        slots[q][s] = load<4>(columns.slots[s].as(Storage::block8), place(q), b);
    }
    State<4> state[kQuads];
    for (int q = 0; q < kQuads; ++q) {
      float p[4], g[4];
      decode(value[q], Storage::fp32, p);
      decode(gradient[q], Storage::fp32, g);
      for (float& each : g) each = columns.scale * each;
      for (int s = 0; s < kSlots; ++s) decode(slots[q][s], Storage::block8, codes[s], state[q][s]);
      advance(place(q), Storage::fp32, p, g, state[q]);
    }
    __syncwarp();  // all have read the block's scales
    for (int s = 0; s < kSlots; ++s) {
      u32 most = 0;
      for (int q = 0; q < kQuads; ++q) most = std::max(most, largest_of(state[q][s]));
      most = warp_largest(most);
      if (lane == 0) columns.slots[s].scales()[b] = std::bit_cast<float>(most);
      for (int q = 0; q < kQuads; ++q)
        store_codes(columns.slots[s], place(q), codes[s], state[q][s], most);
    }
  }

  /// The elements of a stretch, of any storages; block: how many a block of block8 has, 0: nothing is in block8. Then all
  /// threads wait for one another: the fresh values lie in shared memory, until their blocks' largest are known.
  __device__ __forceinline__ void stretch(u32 at, u32 length, u32 block, Shared& shared,
                                          float* fresh, u32 slot_length) const {
    // Which block the stretch's element k lies in: k · ⌈2²⁴/block⌉ / 2²⁴, exact below 2¹².
    static_assert(kLongestStretch <= 1 << 12);
    const u32 inverse = block ? ((1u << 24) + block - 1) / block : 0;
    const auto block_at = [=](u32 k) { return k * inverse >> 24; };
    const u32 blocks_before = block ? at / block : 0;
    if (block) {
      for (u32 b = threadIdx.x; b < kMostBlocks; b += kThreads) {
        for (int s = 0; s < kSlots; ++s) shared.largest[s][b] = 0;
        shared.moved[b] = 0;
      }
      __syncthreads();
    }
    each_quad(length, columns.quads, [&]<int N>(std::integral_constant<int, N>, u32 k) {
      const u32 b = block_at(k);
      const auto loaded = columns.template load<N>(at + k, blocks_before + b);
      float p[N], g[N];
      State<N> state;
      decode(loaded.value, columns.value.storage, p);
      columns.decode_gradient(loaded, g);
      for (int s = 0; s < kSlots; ++s)
        decode(loaded.slots[s], columns.slots[s].storage, codes[s], state[s]);
      const bool moves = loaded.given || !columns.lazy;
      if (moves) {
        advance(at + k, columns.value.storage, p, g, state);
        if (block && columns.lazy) atomicExch(&shared.moved[b], 1u);
      }
      const float zero = moves ? -0.0f : 0.0f;  // x − 0 is x; −0 + 0 is 0: see keep_zeros, loop.cpp
      for (int s = 0; s < kSlots; ++s) {
        if (columns.slots[s].storage != Storage::block8) {
          if (moves) store(columns.slots[s], at + k, state[s]);
          continue;
        }
        Pack<float, N> kept;
        for (int e = 0; e < N; ++e) kept.x[e] = state[s][e] + zero;
        kept.store(fresh + s * slot_length + k);
        // Together, where the elements of all lanes lie in one block.
        const u32 end_of_warp = k + 4 * (32 - threadIdx.x % 32);
        const bool together = N == 4 && block % 128 == 0 && end_of_warp <= length;
        const u32 own = largest_of(state[s]), most = together ? warp_largest(own) : own;
        if (!together || threadIdx.x % 32 == 0) atomicMax(&shared.largest[s][b], most);
      }
    });
    if (!block) return;
    __syncthreads();
    // A block that holds no row to be moved keeps its bits.
    const auto changed = [&](u32 b) { return !columns.lazy || shared.moved[b] != 0; };
    for (int s = 0; s < kSlots; ++s)
      if (columns.slots[s].storage == Storage::block8)
        for (u32 b = threadIdx.x; b <= block_at(length - 1); b += kThreads)
          if (changed(b))
            columns.slots[s].scales()[blocks_before + b] =
                std::bit_cast<float>(shared.largest[s][b]);
    each_quad(length, columns.quads, [&]<int N>(std::integral_constant<int, N>, u32 k) {
      const u32 b = block_at(k);
      if (!changed(b)) return;
      for (int s = 0; s < kSlots; ++s) {
        if (columns.slots[s].storage != Storage::block8) continue;
        const auto values = Pack<float, N>::load(fresh + s * slot_length + k);
        store_codes(columns.slots[s], at + k, codes[s], values.x, shared.largest[s][b]);
      }
    });
    __syncthreads();  // all have read what the next stretch overwrites
  }
};

}  // namespace minima::MINIMA_BACKEND
