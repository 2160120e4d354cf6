#include "optim/storage/storage.hpp"

#include <algorithm>

#include "core/code_map.hpp"
#include "core/dtype.hpp"

namespace minima {
namespace {

float* scales(const SlotView& slot, i64 begin) { return slot.absmax + begin / slot.block_size; }

}  // namespace

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
    for (i64 line = 0; line < n; line += kLine<u8>) fetch_ahead(codes + line);
    block8::loops().decode(*slot.map, codes, n, slot.block_size, scales(slot, begin), scratch);
    return scratch;
  }
  return static_cast<float*>(slot.values) + begin;
}

void fetch_slot(const SlotView& slot, i64 begin, i64 n) {
  const i64 size = bytes_each(slot.storage);
  const u8* const bytes = static_cast<const u8*>(slot.values) + begin * size;
  constexpr int kRead = 0, kSecondCache = 2;  // which takes more requests than the first
  for (i64 line = 0; line < n * size; line += kLine<u8>)
    __builtin_prefetch(bytes + line, kRead, kSecondCache);
}

void scale_slot(const SlotView& slot, i64 begin, i64 n, const float* values) {
  if (slot.storage == Storage::block8)
    block8::loops().scale(values, n, slot.block_size, scales(slot, begin));
}

void store_slot(const SlotView& slot, i64 begin, i64 n, const float* values) {
  if (slot.storage == Storage::bf16) {
    bf16* const to = static_cast<bf16*>(slot.values) + begin;
    vectorize([=]() MINIMA_INLINE {
      for (i64 i = 0; i < n; ++i) to[i] = bf16(values[i]);
    });
  } else if (slot.storage == Storage::block8) {
    block8::loops().encode(*slot.map, values, n, slot.block_size, scales(slot, begin),
                           static_cast<u8*>(slot.values) + begin);
  } else if (float* const to = static_cast<float*>(slot.values) + begin; values != to) {
    std::copy_n(values, n, to);
  }
}

}  // namespace minima
