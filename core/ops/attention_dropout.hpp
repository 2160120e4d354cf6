/// Which weights dropout keeps, in the tiles of attention (core/ops/attention_tiles.hpp), by a bit each.
#pragma once

#include "core/ops/attention_tiles.hpp"

namespace minima::MINIMA_BACKEND::attention {

constexpr int kGroup = 64;  ///< keys whose dropout is drawn at once
static_assert(kGroup % (kMostWarps * kWarpRows) == 0, "a block's keys lie in one group");

/// Which keys of a group dropout keeps for the lane's two rows, the queries from `first` on, `left` of which there are: bit
/// 16 (e / 2) + 2 n + e % 2 for its sum (n, e). One drawing says it of keys 16 apart, and those are the lane's own.
template <class T>
__device__ u32 draw_own(const AttentionHeads<T>& x, const Task<T>& task, int first, int left,
                        int group) {
  DropoutRow mask = head_mask(x.dropout, task.head, task.example, 0);
  u32 bits = 0;
  for (int half = 0; half < 2; ++half) {
    const int row = row_of(2 * half);
    if (row >= left) continue;
    mask.position = static_cast<u64>(x.query_positions[task.query + first + row]);
    for (int i = 0; i < 4; ++i) {  // of the first 16 keys the lane has four
      bool keeps[4];
      mask.keep_four(i64{group} * kGroup + column_of(i / 2, i % 2), keeps);
      for (int k = 0; k < 4; ++k) bits |= u32{keeps[k]} << (16 * half + 4 * k + i);
    }
  }
  return bits;
}
/// The same of the tile that begins with `key`: bits for its own n.
__device__ inline u32 of_tile(u32 bits, int key) { return bits >> (key % kGroup / 8 * 2); }
__device__ inline bool is_kept_own(u32 bits, int n, int e) {
  return bits & 1u << (e / 2 * 16 + n * 2 + e % 2);
}

/// The same for each of `rows` queries from `first` on, in a word for each. A warp draws for two queries at a time, a lane for
/// four keys.
template <class T>
__device__ void draw(u64* kept, int rows, const AttentionHeads<T>& x, const Task<T>& task,
                     int first, int group) {
  DropoutRow mask = head_mask(x.dropout, task.head, task.example, 0);
  const int half = threadIdx.x % 32 / 16, lane = threadIdx.x % 16;
  for (int pair = threadIdx.x / 32 * 2; pair < rows; pair += blockDim.x / 16) {
    const int query = first + pair + half;
    bool keeps[4] = {};
    if (query < task.queries) {
      mask.position = static_cast<u64>(x.query_positions[task.query + query]);
      mask.keep_four(i64{group} * kGroup + lane, keeps);
    }
    u64 word = 0;
    MINIMA_UNROLL for (int k = 0; k < 4; ++k) {
      const unsigned both = __ballot_sync(kAllLanes, keeps[k]);
      word |= static_cast<u64>(both >> (16 * half) & 0xffff) << (16 * k);
    }
    if (lane == 0) kept[pair + half] = word;
  }
}
__device__ inline bool is_kept(u64 word, int key) { return word >> (key % kGroup) & 1; }

}  // namespace minima::MINIMA_BACKEND::attention
