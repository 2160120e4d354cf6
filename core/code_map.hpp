/// Eight bits a number: 256 numbers in [−1, 1], or in [0, 1], that lie densely around zero over seven
/// decades (Dettmers 2016, arXiv:1511.04561), and how the nearest of them is found.
///
///   nearest     by the midpoint of two neighbours; a tie takes the even code
///   sign rule   in the signed map a negative value never becomes 0 (a tiny positive one may); −0 is
///               negative, and takes the code below 0
///
/// How encoding is fast. The bits of |x|, seen as an integer, grow with the value. Their upper half
/// (sign, exponent and seven bits of the mantissa) picks a bucket so narrow that it holds at most one
/// border between two codes. A bucket's entry is code·2¹⁶ plus an offset, such that adding the lower
/// half carries into the code exactly at the border: one look-up, one addition, one shift. The entries
/// are made from `slot_code`, which searches, so ties, sign rule and −0 are all in them.
#pragma once

#include <bit>
#include <vector>

#include "core/cpu/simd.hpp"
#include "core/types.hpp"

namespace minima {

/// table[index] by a signed 32-bit offset in bytes, as a processor's gather takes it. The table is shorter than 2 GiB.
template <class T>
MINIMA_HD T look_up(const T* table, u32 index) {
  const i32 offset = static_cast<i32>(index * sizeof(T));
  return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(table) + offset);
}

/// Four of the eight bytes of two words, b's the upper ones, by the four digits of `choice`; a digit with 8 added: ones or
/// zeros, as that byte's first bit is. One instruction of a GPU.
MINIMA_HD u32 bytes_of(u32 a, u32 b, u32 choice) {
#if defined(__CUDA_ARCH__)
  u32 chosen;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(chosen) : "r"(a), "r"(b), "r"(choice));
  return chosen;
#else
  u32 chosen = 0;
  for (int k = 0; k < 4; ++k) {
    const u32 digit = choice >> 4 * k & 15u, word = digit & 4u ? b : a,
              byte = word >> 8 * (digit & 3u) & 255u;
    chosen |= (digit < 8 ? byte : byte >> 7 ? 255u : 0u) << 8 * k;
  }
  return chosen;
#endif
}

/// The first bytes of N words as one word; and for each a byte of ones where its first bit is set.
template <int N>
MINIMA_HD u32 first_bytes(const u32 (&words)[N]) {
  static_assert(N == 1 || N == 4);
  if constexpr (N == 1)
    return words[0] >> 24;
  else
    return bytes_of(bytes_of(words[0], words[1], 0x73), bytes_of(words[2], words[3], 0x73), 0x5410);
}
template <int N>
MINIMA_HD u32 first_bits(const u32 (&words)[N]) {
  static_assert(N == 1 || N == 4);
  if constexpr (N == 1)
    return words[0] >> 31 ? 255u : 0u;
  else
    return bytes_of(bytes_of(words[0], words[1], 0x73), bytes_of(words[2], words[3], 0x73), 0xdc98);
}

/// The same codes by a table of 16 KB, which a GPU holds in each processor's own memory. It takes quotients times 2⁻¹⁰³:
/// those from 2⁻²³ to 1 then have the least exponents of normal numbers, smaller ones are denormal, and the three bits
/// behind the sign are 0. Nine times the bits, modulo 2³², thus still begin with the sign, and their upper twelve pick a
/// bucket of 2²⁰/9 numbers: no more than lie between two borders, even of the unsigned map.
struct alignas(16) CompactCodes {
  static constexpr float kScale = 0x1p-103f;
  static constexpr u32 kOne = 24u << 23;  ///< the bits of 1 · kScale

  /// Borders that are short binary fractions, as ties make them, are far from a bucket's.
  MINIMA_HD static constexpr u32 bucket(u32 bits) { return (bits * 9 + 0x84000u) >> 20; }

  u32 word[4096];  ///< of each bucket

  /// The numbers themselves: their bits lie where there are no buckets, behind that of 1.
  static constexpr u32 kNumbers = 0x6c2;
  MINIMA_HD float operator[](u32 code) const { return std::bit_cast<float>(word[kNumbers + code]); }

  /// The upper eight bits are the code, of negative numbers 255 − code; the others how far the number lies beyond its
  /// bucket's border, modulo 2²⁴.
  MINIMA_HD u32 find(u32 bits) const { return word[bucket(bits)] + bits; }

  /// The codes of x/divisor as the bytes of a word, |x| ≤ divisor; `inverse` is nearly kScale/divisor. A product is off by
  /// less than kDoubt in the last place, and tells the code but close to a border: a GPU needs a dozen instructions for a
  /// division.
  template <int N>
  MINIMA_HD u32 codes_of_quotients(const float (&x)[N], float divisor, float inverse) const {
    // Where neither the inverse nor a product that matters leaves the range of normal numbers.
    const bool safe = divisor > 0x1p-100f && divisor < 0x1p22f;
    u32 bits[N], found[N], closest = ~0u;
    for (int e = 0; e < N; ++e) {
      bits[e] = std::bit_cast<u32>(x[e] * inverse);
      found[e] = find(bits[e]);
      const u32 beyond = (found[e] + kDoubt) << 8;
      closest = beyond < closest ? beyond : closest;
    }
    if (!safe || closest < 2 * kDoubt << 8)
      for (int e = 0; e < N; ++e) {
        bits[e] = scaled(std::bit_cast<u32>(x[e] / divisor));
        found[e] = find(bits[e]);
      }
    return first_bytes(found) ^ first_bits(bits);
  }
  static constexpr u32 kDoubt = 8;

  /// The bits of a number times kScale; those of numbers beyond ±1, and of NaN, are those of ±1.
  MINIMA_HD static u32 scaled(u32 bits) {
    constexpr u32 one = 0x3f800000u, least = one - kOne;
    const u32 any = bits & 0x7fffffffu, magnitude = any < one ? any : one;
    return (bits & 0x80000000u) | ((magnitude > least ? magnitude : least) - least);
  }
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

/// Blocks of values, each with a scale, its largest magnitude.
namespace block8 {

/// |x| as bits: a maximum of integers needs no order of operations, and keeps NaN.
MINIMA_HD u32 magnitude(float x) { return std::bit_cast<u32>(x) & 0x7fffffffu; }
/// What the values of a block are divided by: 1 where all are zero.
MINIMA_HD float divisor(float absmax) { return absmax == 0 ? 1.0f : absmax; }

/// The loops on a CPU over n values in blocks of `size` > 0, the last of which may be shorter; `absmax` is of the blocks.
struct Loops {
  const char* name;
  /// The largest |value| of each block; NaN where one is NaN.
  void (*scale)(const float* values, i64 n, i64 size, float* absmax);
  /// map.value[code] · absmax.
  void (*decode)(const CodeMap& map, const u8* codes, i64 n, i64 size, const float* absmax,
                 float* values);
  /// The codes of value / absmax, whose magnitude is at most 1; in the map for [0, 1] 0 for a negative one.
  void (*encode)(const CodeMap& map, const float* values, i64 n, i64 size, const float* absmax,
                 u8* codes);
};

extern const Loops plain;
/// The same bits in each way that may be the fastest on that vector unit: what a gather takes is not the same on all
/// processors. AVX-512 without VBMI has those of AVX2.
std::vector<Loops> ways(VectorUnit unit);
/// The fastest way of vector_unit(), by a try of some fifty microseconds when it is first asked for.
const Loops& loops();

}  // namespace block8

}  // namespace minima
