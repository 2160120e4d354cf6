/// CodeMap's loops in AVX-512 VBMI, without look-ups in memory.
///
///   decode   A permutation looks up 64 bytes at once in a table of 128; a float is four such
///            look-ups, one for each of its bytes.
///   encode   A code's place among the magnitudes is nearly a straight line within each decade of
///            |x|/absmax: find the decade, then one multiplication and addition. Where the line's
///            result is so near to a whole number that rounding could decide, one value in some
///            thousands, the table of CodeMap decides. So no division is needed elsewhere: the
///            quotient by an inverse is near enough.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/cpu/code_map_x86.hpp"
#include "core/cpu/intrinsics.hpp"

#if defined(__x86_64__)

#define MINIMA_AVX512 \
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,fma,bmi,bmi2")]]

namespace minima::block8 {
namespace {

constexpr u32 kOne = 0x3f800000u;

/// Decade d of a map, 0 to 6, has `count` numbers, the midpoints of equal parts of 10^(d−6)·[0.1, 1].
/// The first has place `first` among the magnitudes; 0 has place 0. y = (x − 0.1·10^(d−6)) / width
/// counts the parts.
struct Decade {
  Decade(const CodeMap& map, int d)
      : end(std::pow(10.0, d - 6)),
        count(std::exp2(with_sign(map) ? d : d + 1)),
        first(with_sign(map) ? count : count - 1),
        width(0.9 * end / count) {}
  double y(double x) const { return (x - 0.1 * end) / width; }

  double end, count, first, width;
};

/// The codes that a line leaves in doubt, of 16 values, by the table. Inline: a call would cost the
/// loop its registers.
MINIMA_HD void settle(const CodeMap& map, const float* values, float divisor, u32 doubtful,
                      u8* codes) {
  for (; doubtful; doubtful &= doubtful - 1) {
    const int i = std::countr_zero(doubtful);
    codes[i] = static_cast<u8>(map.code(bits_of(values[i] / divisor)));
  }
}

/// Words of 32 bits as four tables of their bytes.
struct Planes {
  alignas(64) u8 byte[4][256];
  void set(int i, u32 word) {
    for (int b = 0; b < 4; ++b) byte[b][i] = static_cast<u8>(word >> (8 * b));
  }
};

/// For each octave of q = scale · |x|/absmax, from 2⁻²³ on: y = slope · q + offset counts the parts
/// of the decade that begins in the octave or holds all of it. Its first number's lower border is at
/// y = 0.2, and the decade below has parts of a fifth of the width, so that
///     place − first = ⌊min(y, 1.25 y − 0.25, 5 y)⌋.
/// The border of 0 and that of 1, which lie elsewhere, have octaves of their own, where y = 1 there;
/// `scale` puts the latter just above q = 1.
/// The place comes in bits 15 to 22 of a float, its fraction below, kDoubt/2 too large.
struct Tables512 {
  /// How near to a whole number, in 2⁻¹⁵, is too near, above and below together; a power of two.
  static constexpr int kDoubt = 8;

  explicit Tables512(const CodeMap& map) {
    for (int i = 0; i < 256; ++i)
      value.set(i, bits_of(map.value[with_sign(map) ? (i < 128 ? 127 + i : 255) : i]));
    const double border_of_0 = map.value[map.zero + 1] / 2.0;
    const double border_of_1 = (map.value[254] + 1.0) / 2;
    scale = static_cast<float>((1 + 0x1p-18) / border_of_1);
    for (int octave = -23; octave <= 0; ++octave) {
      const double from = std::exp2(octave) / scale;
      const auto line = [&](double x0, double y0, double rise, double place) {
        const int at = (octave + 127) % 32;
        slope[at] = static_cast<float>(rise / scale);
        offset[at] = static_cast<float>(y0 - rise * x0);
        first[at] = static_cast<float>(256 + place + kDoubt / 2 * 0x1p-15);
      };
      int d = 0;
      while (d < 6 && Decade(map, d).end < 2 * from) ++d;
      const Decade decade(map, d);
      if (octave == 0)
        line(border_of_1, 1, 200, decade.first + decade.count - 1);
      else if (2 * from <= border_of_0)
        line(0, 0.5, 0, 0);
      else if (from <= border_of_0)
        line(border_of_0, 1, 0.8 / border_of_0, 0);
      else
        line(0.1 * decade.end, 0, 1 / decade.width, decade.first);
    }
  }

  Planes value;
  float scale;
  alignas(64) float slope[32] = {}, offset[32] = {}, first[32] = {};
};

const Tables512& tables512(const CodeMap& map) {
  static const Tables512 tables[] = {Tables512(unsigned_code_map()), Tables512(signed_code_map())};
  return tables[with_sign(map)];
}

/// Packing four registers of words to one of bytes works within lanes of 128 bits, and so does the
/// way back; both leave the bytes in the order that this makes of the natural one, and undoes.
MINIMA_AVX512 inline __m512i reorder(__m512i bytes) {
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
}

MINIMA_AVX512 inline void interleave(const __m512i (&byte)[4], __m512i (&word)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
  word[0] = _mm512_unpacklo_epi16(low01, low23);
  word[1] = _mm512_unpackhi_epi16(low01, low23);
  word[2] = _mm512_unpacklo_epi16(high01, high23);
  word[3] = _mm512_unpackhi_epi16(high01, high23);
}

/// From the order that eight_bits leaves 64 bytes in to the natural one.
MINIMA_AVX512 inline __m512i natural_order() {
  alignas(64) static constexpr std::array<u8, 64> order = [] {
    std::array<u8, 64> from{};
    for (int i = 0; i < 64; ++i) from[i] = static_cast<u8>(i % 16 / 2 * 8 + i / 16 * 2 + i % 2);
    return from;
  }();
  return _mm512_load_si512(order.data());
}

/// Of each of 64 words the eight bits from bit `from` on.
template <int from>
MINIMA_AVX512 inline __m512i eight_bits(const __m512i (&word)[4]) {
  const __m512i bits = _mm512_set1_epi16(from | (from + 32) << 8);
  __m512i byte = _mm512_multishift_epi64_epi8(bits, word[0]);
  for (int k = 1; k < 4; ++k)
    byte = _mm512_mask_multishift_epi64_epi8(byte, 0x0303030303030303u << (2 * k), bits, word[k]);
  return byte;
}

/// Planes in registers: 128 entries, for the magnitudes of the signed map, or 256.
template <int entries>
struct Registers {
  MINIMA_AVX512 explicit Registers(const Planes& planes) {
    for (int b = 0; b < 4; ++b)
      for (int k = 0; k < entries / 64; ++k)
        part[b][k] = _mm512_load_si512(planes.byte[b] + 64 * k);
  }
  MINIMA_AVX512 void look_up(__m512i index, __m512i (&byte)[4]) const {
    for (int b = 0; b < 4; ++b) {
      byte[b] = _mm512_permutex2var_epi8(part[b][0], index, part[b][1]);
      if constexpr (entries == 256)
        byte[b] = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), byte[b],
                                         _mm512_permutex2var_epi8(part[b][2], index, part[b][3]));
    }
  }
  __m512i part[4][entries / 64];
};

template <bool with_sign>
MINIMA_AVX512 void decode512(const CodeMap& map, const u8* codes, i64 n, i64 size,
                             const float* absmax, float* result) {
  const Registers<with_sign ? 128 : 256> value(tables512(map).value);
  const __m512i zero = _mm512_set1_epi8(127), sign = _mm512_set1_epi8(-128);
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const __m512 scale = _mm512_set1_ps(*absmax);
    for (; i + 64 <= end; i += 64) {
      const __m512i code = reorder(_mm512_loadu_si512(codes + i));
      __m512i byte[4], word[4];
      if constexpr (with_sign) {
        const __m512i from_zero = _mm512_sub_epi8(code, zero);
        value.look_up(_mm512_abs_epi8(from_zero), byte);
        // byte[3] | (from_zero & ~code & 0x80): the sign of codes below 127
        byte[3] =
            _mm512_ternarylogic_epi64(byte[3], from_zero, _mm512_andnot_si512(code, sign), 0xf8);
        // The code of 1, place 128, was looked up as 0.
        const __mmask64 is_one = _mm512_cmpeq_epi8_mask(code, _mm512_set1_epi8(-1));
        byte[2] = _mm512_mask_mov_epi8(byte[2], is_one, _mm512_set1_epi8(kOne >> 16 & 0xff));
        byte[3] = _mm512_mask_mov_epi8(byte[3], is_one, _mm512_set1_epi8(kOne >> 24));
      } else {
        value.look_up(code, byte);
      }
      interleave(byte, word);
      for (int k = 0; k < 4; ++k)
        _mm512_storeu_ps(result + i + 16 * k, _mm512_mul_ps(_mm512_castsi512_ps(word[k]), scale));
    }
    if (i < end) plain.decode(map, codes + i, end - i, size, absmax, result + i);
  }
}

/// A table of 32 floats in registers; an index is its lowest five bits.
struct ByOctave {
  MINIMA_AVX512 explicit ByOctave(const float* table)
      : low(_mm512_load_ps(table)), high(_mm512_load_ps(table + 16)) {}
  MINIMA_AVX512 __m512 operator[](__m512i index) const {
    return _mm512_permutex2var_ps(low, index, high);
  }
  __m512 low, high;
};

template <bool with_sign>
MINIMA_AVX512 void encode512(const CodeMap& map, const float* values, i64 n, i64 size,
                             const float* absmax, u8* codes) {
  const Tables512& t = tables512(map);
  const __m512 tiny = _mm512_set1_ps(0x1p-23f);
  const __m512 steeper = _mm512_set1_ps(1.25f), down = _mm512_set1_ps(-0.25f);
  const ByOctave slope(t.slope), offset(t.offset), first(t.first);
  const __m512i fraction = _mm512_set1_epi32((1 << 15) - Tables512::kDoubt);
  const __m512i one = _mm512_set1_epi8(1), zero = _mm512_set1_epi8(127);
  const __m512i natural = natural_order();
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const float divisor = block8::divisor(*absmax);
    const __m512 scale = _mm512_set1_ps(t.scale / divisor);
    for (; i + 64 <= end && has_accurate_inverse(divisor); i += 64) {
      // Stage after stage over all 64 values, so that the stages' latencies overlap.
      __m512i x[4], octave[4], line[4];
      __m512 y[4], bent[4];
      for (int k = 0; k < 4; ++k) x[k] = _mm512_loadu_si512(values + i + 16 * k);
      for (int k = 0; k < 4; ++k) y[k] = _mm512_mul_ps(_mm512_castsi512_ps(x[k]), scale);
      for (int k = 0; k < 4; ++k)
        y[k] = with_sign ? _mm512_range_ps(y[k], tiny, 0xb)  // the greater magnitude
                         : _mm512_max_ps(y[k], tiny);
      for (int k = 0; k < 4; ++k) octave[k] = _mm512_srli_epi32(_mm512_castps_si512(y[k]), 23);
      for (int k = 0; k < 4; ++k) y[k] = _mm512_fmadd_ps(y[k], slope[octave[k]], offset[octave[k]]);
      for (int k = 0; k < 4; ++k) bent[k] = _mm512_fmadd_ps(y[k], steeper, down);
      for (int k = 0; k < 4; ++k) bent[k] = _mm512_min_ps(bent[k], y[k]);
      for (int k = 0; k < 4; ++k)
        y[k] = _mm512_min_ps(bent[k], _mm512_mul_ps(y[k], _mm512_set1_ps(5)));
      for (int k = 0; k < 4; ++k)
        line[k] = _mm512_castps_si512(_mm512_add_ps(y[k], first[octave[k]]));
      __mmask16 sure = _mm512_test_epi32_mask(line[0], fraction);
      for (int k = 1; k < 4; ++k) sure = _mm512_mask_test_epi32_mask(sure, line[k], fraction);
      __m512i code = eight_bits<15>(line);
      if constexpr (with_sign) {  // a negative value has a place from 1 to 127
        const __m512i below_zero = _mm512_min_epu8(_mm512_max_epu8(code, one), zero);
        code = _mm512_mask_sub_epi8(_mm512_add_epi8(zero, code),
                                    _mm512_movepi8_mask(eight_bits<24>(x)), zero, below_zero);
      }
      _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi8(natural, code));
      if (sure != 0xffff) [[unlikely]]
        for (int k = 0; k < 4; ++k)
          settle(map, values + i + 16 * k, divisor, _mm512_testn_epi32_mask(line[k], fraction),
                 codes + i + 16 * k);
    }
    if (i < end) plain.encode(map, values + i, end - i, size, absmax, codes + i);
  }
}

}  // namespace

MINIMA_AVX512 void scale_avx512(const float* values, i64 n, i64 size, float* absmax) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    __m512i largest[4] = {};
    for (; i + 64 <= end; i += 64)
      for (int k = 0; k < 4; ++k)
        largest[k] = _mm512_max_epu32(
            largest[k], _mm512_and_si512(magnitude, _mm512_loadu_si512(values + i + 16 * k)));
    for (; i < end; i += 16) {
      const __mmask16 inside = _bzhi_u32(0xffff, static_cast<u32>(std::min<i64>(16, end - i)));
      largest[0] = _mm512_max_epu32(
          largest[0], _mm512_and_si512(magnitude, _mm512_maskz_loadu_epi32(inside, values + i)));
    }
    *absmax = std::bit_cast<float>(_mm512_reduce_max_epu32(_mm512_max_epu32(
        _mm512_max_epu32(largest[0], largest[1]), _mm512_max_epu32(largest[2], largest[3]))));
  }
}

void decode_avx512(const CodeMap& map, const u8* codes, i64 n, i64 size, const float* absmax,
                   float* values) {
  (with_sign(map) ? decode512<true> : decode512<false>)(map, codes, n, size, absmax, values);
}

void encode_avx512(const CodeMap& map, const float* values, i64 n, i64 size, const float* absmax,
                   u8* codes) {
  (with_sign(map) ? encode512<true> : encode512<false>)(map, values, n, size, absmax, codes);
}

}  // namespace minima::block8

#endif
