/// block8: eight bits a value (Dettmers, Lewis, Shleifer, Zettlemoyer 2022, arXiv:2110.02861).
///
/// The flattened tensor is cut into blocks (256 values; the last may be shorter). A block keeps its
/// largest magnitude, `absmax`, as a float, and for each value x the code of x/absmax: the index of
/// the nearest number of a CodeMap (core/code_map.hpp). Decoding is map[code] · absmax. A block of
/// zeros has absmax 0 and the codes of 0: zero stays zero.
#pragma once

#include "core/code_map.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

struct Block8Storage {
  MINIMA_HD static i64 scales(i64 elements, i64 block_size) {
    return (elements + block_size - 1) / block_size;
  }

  /// begin is a multiple of the block size, and n at most the block size.
  MINIMA_HD static float* open(const SlotView& slot, i64 begin, i64 n, float* scratch) {
    const u8* codes = static_cast<const u8*>(slot.values) + begin;
    const float absmax = slot.absmax[begin / slot.block_size];
#if defined(__CUDA_ARCH__)
    for (i64 i = 0; i < n; ++i) scratch[i] = slot.map->value[codes[i]] * absmax;
#else
    block8::loops().decode(*slot.map, codes, n, absmax, scratch);
#endif
    return scratch;
  }

  MINIMA_HD static void close(const SlotView& slot, i64 begin, i64 n, const float* values) {
#if defined(__CUDA_ARCH__)
    u32 largest = 0;
    for (i64 i = 0; i < n; ++i) {
      const u32 each = magnitude(values[i]);
      largest = each > largest ? each : largest;
    }
#else
    const u32 largest = block8::loops().largest(values, n);
#endif
    slot.absmax[begin / slot.block_size] = from_bits(largest);
    encode(slot, begin, n, values, largest);
  }

  /// The codes of values whose block has the largest magnitude `largest`.
  MINIMA_HD static void encode(const SlotView& slot, i64 begin, i64 n, const float* values,
                               u32 largest) {
    u8* codes = static_cast<u8*>(slot.values) + begin;
    const float divisor = Block8Storage::divisor(largest);
#if defined(__CUDA_ARCH__)
    for (i64 i = 0; i < n; ++i)
      codes[i] = static_cast<u8>(slot.map->code(std::bit_cast<u32>(values[i] / divisor)));
#else
    block8::loops().encode(*slot.map, values, n, divisor, codes);
#endif
  }

  /// |x| as bits: a maximum of integers needs no order of operations, and keeps NaN.
  MINIMA_HD static u32 magnitude(float x) { return std::bit_cast<u32>(x) & 0x7fffffffu; }
  /// What the values of a block are divided by: 1 where all are zero.
  MINIMA_HD static float divisor(u32 largest) { return largest == 0 ? 1.0f : from_bits(largest); }
  MINIMA_HD static float from_bits(u32 bits) { return std::bit_cast<float>(bits); }
};

}  // namespace minima
