/// block8: eight bits a value (Dettmers, Lewis, Shleifer, Zettlemoyer 2022, arXiv:2110.02861; the
/// code: Dettmers 2016, arXiv:1511.04561).
///
/// The flattened tensor is cut into blocks (256 values; the last may be shorter). A block keeps its
/// largest magnitude, `absmax`, as a float, and for each value x the code of x/absmax: the index of
/// the nearest of 256 numbers in [−1, 1] (in [0, 1] for a slot that is never negative) that lie
/// densely around zero, over seven decades. Decoding is map[code] · absmax.
///
///   nearest     by the midpoint of two neighbours; a tie takes the even code
///   sign rule   in the signed map a negative value never becomes 0 (a tiny positive one may)
///   zero block  absmax 0 and the codes of 0; zero stays zero, and by the sign rule even −0 stays −0
///
/// How encoding is fast. The bits of |x|/absmax, seen as an integer, grow with the value. Their
/// upper part (exponent and a few bits of the mantissa) picks a bucket so narrow that it holds at
/// most one border between two codes. A bucket's entry is code·2²⁴ plus an offset, such that adding
/// the lower bits of the mantissa carries into the code exactly at the border: one look-up, one
/// addition, one shift. The entries are made from `slot_code`, which searches, so ties, sign rule
/// and −0 are all in them. Some processors have faster ways to the same bits: block8_x86.cpp.
#pragma once

#include <bit>

#include "core/cpu/simd.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

/// table[index] by a signed 32-bit offset in bytes: the form in which GCC sees that the processor's
/// gather instruction can do it. The table is shorter than 2 GiB.
template <class T>
MINIMA_HD T look_up(const T* table, u32 index) {
  const i32 offset = static_cast<i32>(index * sizeof(T));
  return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(table) + offset);
}

/// The 256 numbers of a code and its tables for encoding. Plain data, for a GPU too.
struct CodeMap {
  static constexpr int kMaxBuckets = 3072;

  /// How to encode: numbers that fit in registers, and the table.
  struct Encoder {
    const u32* entry;
    u32 lowest;    ///< bits of the smallest magnitude that the table tells apart
    u32 shift;     ///< mantissa bits below a bucket's
    u32 negative;  ///< where the entries of negative values begin; the others begin at 0

    /// The code of x/absmax, for the bits of x/absmax. Any bits give some code; NaN gives that of
    /// ±1.
    MINIMA_HD u32 operator()(u32 bits) const {
      constexpr u32 one = 0x3f800000u;
      const u32 sign = bits >> 31;
      u32 magnitude = bits & 0x7fffffffu;
      magnitude = magnitude < lowest ? lowest : magnitude;
      magnitude = magnitude > one ? one : magnitude;
      const u32 from_lowest = magnitude - lowest;
      const u32 found = look_up(entry, (from_lowest >> shift) + sign * negative);
      const u32 code = (found + (from_lowest & ((1u << shift) - 1))) >> 24;
      return code ^ ((0u - sign) & 255u);
    }
  };
  MINIMA_HD Encoder encoder() const { return {entry, lowest, shift, negative}; }

  float value[256];  ///< ascending
  u32 zero;          ///< the code of 0
  u32 lowest, shift, negative;
  u32 entry[kMaxBuckets];  ///< for negative values with the codes mirrored: 255 − code
};

/// The map for signed slots and that for slots that are never negative; built once.
const CodeMap& signed_code_map();
const CodeMap& unsigned_code_map();

/// The nearest code of x in [−1, 1], by searching the map.
u8 nearest_code(const CodeMap& map, float x);
/// The same with the sign rule: the definition, which the tables are made from.
u8 slot_code(const CodeMap& map, float x);

/// The loops over a block on a CPU.
namespace block8 {

struct Loops {
  /// The largest |value|, as bits.
  u32 (*largest)(const float* values, i64 n);
  void (*decode)(const CodeMap& map, const u8* codes, i64 n, float absmax, float* values);
  void (*encode)(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes);
};

extern const Loops plain;
/// The same bits by the fastest way on that vector unit.
Loops loops_for(VectorUnit unit);
/// Those for vector_unit().
const Loops& loops();

}  // namespace block8

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
    const float divisor = largest == 0 ? 1.0f : from_bits(largest);
#if defined(__CUDA_ARCH__)
    const CodeMap::Encoder code = slot.map->encoder();
    for (i64 i = 0; i < n; ++i)
      codes[i] = static_cast<u8>(code(std::bit_cast<u32>(values[i] / divisor)));
#else
    block8::loops().encode(*slot.map, values, n, divisor, codes);
#endif
  }

  /// |x| as bits: a maximum of integers needs no order of operations, and keeps NaN.
  MINIMA_HD static u32 magnitude(float x) { return std::bit_cast<u32>(x) & 0x7fffffffu; }
  MINIMA_HD static float from_bits(u32 bits) { return std::bit_cast<float>(bits); }

  MINIMA_HD static void prefetch(const SlotView& slot, i64 begin, i64 n) {
    prefetch_bytes(static_cast<u8*>(slot.values) + begin, n);
  }
};

}  // namespace minima
