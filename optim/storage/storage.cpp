#include "optim/storage/storage.hpp"

#include <algorithm>

#include "core/code_map.hpp"
#include "core/dtype.hpp"

namespace minima {

float* open_slot(const SlotView& slot, i64 begin, i64 n, float* scratch) {
  if (slot.storage == Storage::bf16) {
    const bf16* const values = static_cast<const bf16*>(slot.values) + begin;
    vectorize([=]() MINIMA_INLINE {
      for (i64 i = 0; i < n; ++i) scratch[i] = static_cast<float>(values[i]);
    });
    return scratch;
  }
  if (slot.storage == Storage::block8) {
    const u8* codes = static_cast<const u8*>(slot.values) + begin;
    const float absmax = slot.absmax[begin / slot.block_size];
    block8::loops().decode(*slot.map, codes, n, absmax, scratch);
    return scratch;
  }
  return static_cast<float*>(slot.values) + begin;
}

u32 largest_magnitude(const SlotView& slot, const float* values, i64 n) {
  return slot.storage == Storage::block8 ? block8::loops().largest(values, n) : 0;
}

void close_slot(const SlotView& slot, i64 begin, i64 n, const float* values, u32 largest) {
  if (slot.storage == Storage::bf16) {
    bf16* const to = static_cast<bf16*>(slot.values) + begin;
    vectorize([=]() MINIMA_INLINE {
      for (i64 i = 0; i < n; ++i) to[i] = bf16(values[i]);
    });
  } else if (slot.storage == Storage::block8) {
    slot.absmax[begin / slot.block_size] = std::bit_cast<float>(largest);
    block8::loops().encode(*slot.map, values, n, block8::divisor(largest),
                           static_cast<u8*>(slot.values) + begin);
  } else if (float* const to = static_cast<float*>(slot.values) + begin; values != to) {
    std::copy_n(values, n, to);
  }
}

}  // namespace minima
