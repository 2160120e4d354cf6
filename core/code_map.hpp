/// Eight bits a number: 256 numbers in [−1, 1], or in [0, 1], that lie densely around zero over seven
/// decades (Dettmers 2016, arXiv:1511.04561), and how the nearest of them is found.
///
///   nearest     by the midpoint of two neighbours; a tie takes the even code
///   sign rule   in the signed map a negative value never becomes 0 (a tiny positive one may), and
///               even −0 stays −0
///
/// How encoding is fast. The bits of |x|, seen as an integer, grow with the value. Their upper half
/// (sign, exponent and seven bits of the mantissa) picks a bucket so narrow that it holds at most one
/// border between two codes. A bucket's entry is code·2¹⁶ plus an offset, such that adding the lower
/// half carries into the code exactly at the border: one look-up, one addition, one shift. The entries
/// are made from `slot_code`, which searches, so ties, sign rule and −0 are all in them.
#pragma once

#include <bit>

#include "core/cpu/simd.hpp"
#include "core/types.hpp"

namespace minima {

/// table[index] by a signed 32-bit offset in bytes: the form in which GCC sees that the processor's
/// gather instruction can do it. The table is shorter than 2 GiB.
template <class T>
MINIMA_HD T look_up(const T* table, u32 index) {
  const i32 offset = static_cast<i32>(index * sizeof(T));
  return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(table) + offset);
}

/// The same codes by tables of 8 KB, which a GPU holds in each processor's own memory. A bucket says its first code, and
/// the bits of each border whether that or the next one is meant. All smaller magnitudes are in the first bucket, all
/// larger ones are 1.
struct alignas(16) CompactCodes {
  static constexpr u32 kOne = 0x3f800000u,
                       kBegin = 0x33ff8000u;  ///< 1; the first bucket's, below 2⁻²³
  static constexpr u32 kBuckets = ((kOne - kBegin) >> 16) + 1;

  float value[256];
  u32 border[258];  ///< [1 + code]: the magnitude from which on, away from 0, this code is meant
  u8 first[2][(kBuckets + 3) / 4 * 4];  ///< of positive and of negative values

  /// A code, and how far its number lies from the bucket's border: the difference of their bits.
  struct Found {
    u32 code, beyond;
  };
  MINIMA_HD Found find(u32 bits) const {
    const u32 any = bits & 0x7fffffffu, magnitude = any < kOne ? any : kOne;
    const u32 negative = bits >> 31,
              bucket = ((magnitude > kBegin ? magnitude : kBegin) - kBegin) >> 16;
    const u32 code = first[negative][bucket];
    const u32 next = code + 1 - 2 * negative, from = border[1 + next];
    return {magnitude >= from ? next : code, magnitude - from};
  }
  /// The code of a number by its bits: that of CodeMap.
  MINIMA_HD u32 code(u32 bits) const { return find(bits).code; }

  /// That of x/divisor, |x| ≤ divisor; `inverse` is nearly 1/divisor. A product is off by less than kDoubt in the last
  /// place, and tells the code but close to a border: a GPU needs a dozen instructions for a division.
  MINIMA_HD u32 code_of_quotient(float x, float divisor, float inverse) const {
    // Where neither the inverse nor a product that matters leaves the range of floats.
    const bool safe = divisor > 0x1p-90f && divisor < 0x1p90f;
    const Found found = find(std::bit_cast<u32>(x * inverse));
    if (safe && found.beyond + kDoubt > 2 * kDoubt) return found.code;
    return code(std::bit_cast<u32>(x / divisor));
  }
  static constexpr u32 kDoubt = 8;
};

/// The 256 numbers of a code and its table for encoding. Plain data, for a GPU too.
struct CodeMap {
  float value[256];  ///< ascending
  u32 zero;          ///< the code of 0
  u32 entry[65536];  ///< for negative values with the codes mirrored: 255 − code
  CompactCodes compact;

  /// The code of a number by its bits. Those of numbers beyond ±1, and of NaN, give the code of ±1.
  MINIMA_HD u32 code(u32 bits) const {
    const u32 found = (look_up(entry, bits >> 16) + (bits & 0xffffu)) >> 16;
    return found ^ ((0u - (bits >> 31)) & 255u);
  }
};

/// The map for [−1, 1] and that for [0, 1]; built once.
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
  /// So many values are best decoded before they are computed with. Of few, the processor decodes the
  /// next ones while it still divides; of many, loops begin and end less often.
  i64 piece;
};

extern const Loops plain;
/// The same bits by the fastest way on that vector unit.
Loops loops_for(VectorUnit unit);
/// Those for vector_unit().
const Loops& loops();

}  // namespace block8

}  // namespace minima
