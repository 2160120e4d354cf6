/// How the values of a slot are kept between steps. A rule never knows: it computes on floats.
///
/// On a CPU a stretch of a slot is opened, which gives floats to compute on, and closed, which stores
/// them; a GPU goes by fours (optim/engine/cuda/quads.hpp). A new storage is a name here and a case in
/// each of these.
///
/// block8 (Dettmers, Lewis, Shleifer, Zettlemoyer 2022, arXiv:2110.02861): the flattened tensor is cut into blocks
/// (256 values, as in bitsandbytes; the paper's have 2,048; the last may be shorter). A block keeps its largest
/// magnitude, `absmax`, and for each value x the code of x/absmax: the index of the nearest number of a CodeMap
/// (core/code_map.hpp). Decoding is map[code] · absmax. A block of zeros has absmax 0, and decodes to zeros whatever
/// its codes.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "core/types.hpp"

namespace minima {

enum class Storage : u8 {
  fp32,    ///< 4 bytes a value: the floats themselves
  bf16,    ///< 2 bytes: the upper half of a float, rounded to nearest even
  block8,  ///< 1 byte, and a float for each block
  i32,     ///< a counter: the slot `step`
};

inline constexpr std::array<std::string_view, 4> kStorageNames{"fp32", "bf16", "block8", "i32"};
inline std::string_view storage_name(Storage s) {
  return kStorageNames[static_cast<std::size_t>(s)];
}
/// Those that can be asked for.
inline std::span<const std::string_view> choices(Storage) { return {kStorageNames.data(), 3}; }

/// Bytes of a value.
MINIMA_HD i64 bytes_each(Storage storage) {
  return storage == Storage::block8 ? 1 : storage == Storage::bf16 ? 2 : 4;
}

struct CodeMap;  // core/code_map.hpp

/// One array in memory as a kernel sees it: plain data, so that it can be handed to a GPU.
struct SlotView {
  Storage storage = Storage::fp32;
  void* values = nullptr;        ///< floats, bf16, or codes
  float* absmax = nullptr;       ///< block8: the largest |value| of each block
  i64 block_size = 0;            ///< block8
  const CodeMap* map = nullptr;  ///< block8
  std::string_view letter = {};  ///< as in Slot (optim/rule.hpp)
};

/// Blocks of block8 hold at most this many values, and so does a stretch that is opened at once.
inline constexpr i64 kLongestStretch = 4096;
/// And at least this many.
inline constexpr i64 kSmallestBlock = 16;

/// The n values from `begin` on: in the slot's own memory where that holds floats, else in `scratch`.
/// Those of block8 begin a block, or lie in one.
float* open_slot(const SlotView& slot, i64 begin, i64 n, float* scratch);
/// Prefetches the values that will be opened next.
void fetch_slot(const SlotView& slot, i64 begin, i64 n);
/// Sets the scales of the blocks of block8 that these values fill (the slot's last may be short); other storages have none.
void scale_slot(const SlotView& slot, i64 begin, i64 n, const float* values);
/// Stores values, where they do not lie there already; those of block8 by the scales that they have been given.
void store_slot(const SlotView& slot, i64 begin, i64 n, const float* values);
inline void close_slot(const SlotView& slot, i64 begin, i64 n, const float* values) {
  scale_slot(slot, begin, n, values), store_slot(slot, begin, n, values);
}

}  // namespace minima
