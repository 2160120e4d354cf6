/// The loops of block8 in the instructions of x86: the same bits as the plain loops in block8.cpp,
/// without look-ups in memory where the processor can look up in registers.
///
///   decode   AVX-512 VBMI: a permutation looks up 64 bytes at once in a table of 128; a float is
///            four such look-ups, one for each of its bytes.
///            AVX2: plain loads, one for each code. (A gather takes longer on many processors.)
///   encode   A code's place among the magnitudes is nearly a straight line within each decade of
///            |x|/absmax: find the decade, then one multiplication and addition.
///            AVX-512 VBMI: the line's result is the place or the one below; the border between
///            the two is looked up and compared.
///            AVX2: where the line's result is so near to a whole number that rounding could
///            decide, one value in some thousands, the table of CodeMap decides.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "optim/storage/block8.hpp"

#if defined(__x86_64__)

// GCC 12's own intrinsics start from an uninitialized register (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#define MINIMA_AVX512 \
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,fma,bmi,bmi2")]]
#define MINIMA_AVX2 [[gnu::target("avx2,fma,bmi,bmi2")]]

namespace minima {
namespace {

constexpr u32 kOne = 0x3f800000u;
/// 2⁻²³: below half of the smallest number of either map.
constexpr u32 kTiny = 0x34000000u;

u32 bits_of(float x) { return std::bit_cast<u32>(x); }
bool with_sign(const CodeMap& map) { return map.value[0] < 0; }

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

/// What is left of a block that is no multiple of the loops' stride.
void finish_decode(const CodeMap& map, const u8* codes, i64 done, i64 n, float absmax,
                   float* values) {
  if (done < n) block8::plain.decode(map, codes + done, n - done, absmax, values + done);
}
void finish_encode(const CodeMap& map, const float* values, i64 done, i64 n, float divisor,
                   u8* codes) {
  if (done < n) block8::plain.encode(map, values + done, n - done, divisor, codes + done);
}

// ---- AVX-512 VBMI -------------------------------------------------------------------------------

/// Words of 32 bits as four tables of their bytes.
struct Planes {
  alignas(64) u8 byte[4][256];
  void set(int i, u32 word) {
    for (int b = 0; b < 4; ++b) byte[b][i] = static_cast<u8>(word >> (8 * b));
  }
};

/// Magnitudes are taken as words of 16 bits: 5 of the exponent, from 2⁻²³, and 11 of the mantissa.
/// Within an octave a line's result in 1/256 is start + rise · mantissa. It is half a place low; the
/// true place is then its whole part or one more, also for x a little beyond the decade's ends.
struct Tables512 {
  explicit Tables512(const CodeMap& map) {
    for (int i = 0; i < 256; ++i) {
      const int code = with_sign(map) ? (i < 128 ? 127 + i : 255) : i;
      value.set(i, bits_of(map.value[code]));
      // The least magnitude whose place is above i.
      const auto above = [&](u32 magnitude) {
        return slot_code(map, std::bit_cast<float>(magnitude)) - static_cast<int>(map.zero) > i;
      };
      u32 low = 0, high = kOne + 1;
      while (high - low > 1) {
        const u32 middle = low + (high - low) / 2;
        (above(middle) ? high : low) = middle;
      }
      border.set(i, high);
    }
    for (int octave = 0; octave < 24; ++octave) {
      const double from = std::exp2(octave - 23);
      int d = 0;
      while (d < 6 && Decade(map, d).end <= from) ++d;
      const double end = Decade(map, d).end;
      decade_end[octave] = d < 6 && end < 2 * from ? word(static_cast<float>(end)) : 0xffff;
      for (int next : {0, 1}) {
        const Decade decade(map, d + next);
        const int at = octave + 32 * next;
        start[at] = static_cast<u16>(std::lround(256 * (decade.first + decade.y(from) - 0.5)));
        rise[at] = static_cast<u16>(std::lround(256 * from / decade.width));
      }
    }
  }
  static u16 word(float x) { return static_cast<u16>((bits_of(x) - kTiny) >> 12); }

  Planes value, border;
  alignas(64) u16 decade_end[32] = {}, start[64] = {}, rise[64] = {};
};

const Tables512& tables512(const CodeMap& map) {
  static const Tables512 any(signed_code_map()), nonnegative(unsigned_code_map());
  return with_sign(map) ? any : nonnegative;
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

/// Which words are negative, in the order of packed bytes.
MINIMA_AVX512 inline __mmask64 negative(const __m512i (&word)[4]) {
  return _mm512_movepi8_mask(_mm512_packs_epi16(_mm512_packs_epi32(word[0], word[1]),
                                                _mm512_packs_epi32(word[2], word[3])));
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

MINIMA_AVX512 u32 largest512(const float* values, i64 n) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest[4] = {};
  i64 i = 0;
  for (; i + 64 <= n; i += 64)
    for (int k = 0; k < 4; ++k)
      largest[k] = _mm512_max_epu32(
          largest[k], _mm512_and_si512(magnitude, _mm512_loadu_si512(values + i + 16 * k)));
  const u32 found = _mm512_reduce_max_epu32(_mm512_max_epu32(
      _mm512_max_epu32(largest[0], largest[1]), _mm512_max_epu32(largest[2], largest[3])));
  return i == n ? found : std::max(found, block8::plain.largest(values + i, n - i));
}

template <bool with_sign>
MINIMA_AVX512 i64 decode512(const Planes& values, const u8* codes, i64 n, float absmax,
                            float* result) {
  const Registers<with_sign ? 128 : 256> value(values);
  const __m512i zero = _mm512_set1_epi8(127), sign = _mm512_set1_epi8(-128);
  const __m512 scale = _mm512_set1_ps(absmax);
  i64 i = 0;
  for (; i + 64 <= n; i += 64) {
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
  return i;
}

template <bool with_sign>
MINIMA_AVX512 i64 encode512(const Tables512& t, const float* values, i64 n, float divisor,
                            u8* codes) {
  const Registers<with_sign ? 128 : 256> borders(t.border);
  const __m512 absmax = _mm512_set1_ps(divisor);
  const __m512i tiny = _mm512_set1_epi32(kTiny), magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i decade_end = _mm512_load_si512(t.decade_end);
  const __m512i start[2] = {_mm512_load_si512(t.start), _mm512_load_si512(t.start + 32)};
  const __m512i rise[2] = {_mm512_load_si512(t.rise), _mm512_load_si512(t.rise + 32)};
  const __m512i one = _mm512_set1_epi8(1), zero = _mm512_set1_epi8(127);
  const __m512i next_decade = _mm512_set1_epi16(32);
  i64 i = 0;
  for (; i + 64 <= n; i += 64) {
    // Stage after stage over all 64 values, so that the stages' latencies overlap.
    __m512i x[4], q[4], from_tiny[4], byte[4], border[4], word[2], line[2], low[2];
    for (int k = 0; k < 4; ++k) x[k] = _mm512_loadu_si512(values + i + 16 * k);
    for (int k = 0; k < 4; ++k)
      q[k] = _mm512_castps_si512(_mm512_div_ps(_mm512_castsi512_ps(x[k]), absmax));
    if constexpr (with_sign)
      for (int k = 0; k < 4; ++k) q[k] = _mm512_and_si512(q[k], magnitude);
    for (int k = 0; k < 4; ++k) from_tiny[k] = _mm512_srai_epi32(_mm512_sub_epi32(q[k], tiny), 12);
    for (int k = 0; k < 2; ++k)  // what is below tiny becomes 0
      word[k] = _mm512_packus_epi32(from_tiny[2 * k], from_tiny[2 * k + 1]);
    for (int k = 0; k < 2; ++k) line[k] = _mm512_srli_epi16(word[k], 11);
    for (int k = 0; k < 2; ++k)
      line[k] = _mm512_mask_add_epi16(
          line[k], _mm512_cmpge_epu16_mask(word[k], _mm512_permutexvar_epi16(line[k], decade_end)),
          line[k], next_decade);
    for (int k = 0; k < 2; ++k)
      low[k] = _mm512_mulhi_epu16(_mm512_slli_epi16(word[k], 5),
                                  _mm512_permutex2var_epi16(rise[0], line[k], rise[1]));
    for (int k = 0; k < 2; ++k)
      low[k] = _mm512_add_epi16(low[k], _mm512_permutex2var_epi16(start[0], line[k], start[1]));
    for (int k = 0; k < 2; ++k) low[k] = _mm512_srli_epi16(low[k], 8);
    __m512i place = _mm512_packus_epi16(low[0], low[1]);

    borders.look_up(place, byte);
    interleave(byte, border);
    for (int k = 0; k < 4; ++k) q[k] = _mm512_sub_epi32(q[k], border[k]);
    place = _mm512_mask_add_epi8(place, _knot_mask64(negative(q)), place, one);
    if constexpr (with_sign) {  // a negative value has a place from 1 to 127
      const __m512i below_zero = _mm512_min_epu8(_mm512_max_epu8(place, one), zero);
      place = _mm512_mask_sub_epi8(_mm512_add_epi8(zero, place), negative(x), zero, below_zero);
    }
    _mm512_storeu_si512(codes + i, reorder(place));
  }
  return i;
}

void decode_avx512(const CodeMap& map, const u8* codes, i64 n, float absmax, float* values) {
  const Tables512& t = tables512(map);
  const i64 done = with_sign(map) ? decode512<true>(t.value, codes, n, absmax, values)
                                  : decode512<false>(t.value, codes, n, absmax, values);
  finish_decode(map, codes, done, n, absmax, values);
}

void encode_avx512(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes) {
  const Tables512& t = tables512(map);
  // Not for NaN and infinities, nor where the quotient of a value by its block's largest is one.
  i64 done = 0;
  if (divisor < HUGE_VALF)
    done = with_sign(map) ? encode512<true>(t, values, n, divisor, codes)
                          : encode512<false>(t, values, n, divisor, codes);
  finish_encode(map, values, done, n, divisor, codes);
}

// ---- AVX2 ---------------------------------------------------------------------------------------

/// A line's result comes in 1/2¹⁵ of a place. To be whole exactly at a border it bends at the first
/// number of a decade, whose lower border is at y = 0.2: min(line, 1.25 line + bend). Above the last
/// number but one, the border of 1 makes a decade of its own, number 7.
struct Tables256 {
  static constexpr int kFraction = 15;

  explicit Tables256(const CodeMap& map) {
    const double unit = 1 << kFraction;
    const auto line = [&](int d, double x0, double place0, double x1, double place1, double below) {
      const double s = (place1 - place0) / (x1 - x0);
      slope[d] = static_cast<float>(s * unit);
      offset[d] = static_cast<float>((place0 - s * x0) * unit + kDoubt / 2);
      bend[d] = static_cast<float>(below * unit - 0.25 * kDoubt / 2);
    };
    const double never = 255;
    const Decade lowest(map, 0), highest(map, 6);
    const auto x = [](const Decade& decade, double y) {
      return 0.1 * decade.end + y * decade.width;
    };
    const double first_border = map.value[map.zero + 1] / 2.0;
    line(0, first_border, 1, x(lowest, with_sign(map) ? 2 : 1), 2, never);
    for (int d = 1; d < 7; ++d) {
      const Decade decade(map, d);
      line(d, x(decade, 1), decade.first + 1, x(decade, 2), decade.first + 2,
           -0.25 * (decade.first + 1));
    }
    const double last = highest.first + highest.count - 1;
    line(7, x(highest, highest.count - 1), last, x(highest, highest.count - 0.25), last + 1, never);

    for (int d = 0; d < 6; ++d) end[d] = bits_of(static_cast<float>(Decade(map, d).end));
    end[0] = bits_of(static_cast<float>(x(lowest, 1.5)));  // its line is too steep beyond
    end[6] = bits_of(static_cast<float>(x(highest, highest.count - 0.6)));
    end[7] = 0x7fffffff;
    for (u32 i = 0; i < 16; ++i) {  // by the exponent's upper bits, two octaves together
      const float from = std::bit_cast<float>((i + 48) << 24);
      int d = 0;
      while (d < 6 && static_cast<float>(Decade(map, d).end) <= from) ++d;
      decade[i] = decade[i + 16] = static_cast<u8>(d);
    }
  }

  /// How near to a whole number is too near, above and below together; a power of two.
  static constexpr int kDoubt = 8;

  alignas(32) u8 decade[32];
  alignas(32) u32 end[8];
  alignas(32) float slope[8], offset[8], bend[8];
};

const Tables256& tables256(const CodeMap& map) {
  static const Tables256 any(signed_code_map()), nonnegative(unsigned_code_map());
  return with_sign(map) ? any : nonnegative;
}

MINIMA_AVX2 inline __m256i pack(const __m256i (&word)[4]) {
  return _mm256_packs_epi16(_mm256_packs_epi32(word[0], word[1]),
                            _mm256_packs_epi32(word[2], word[3]));
}

MINIMA_AVX2 u32 largest256(const float* values, i64 n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest[4] = {};
  i64 i = 0;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 4; ++k)
      largest[k] = _mm256_max_epu32(
          largest[k],
          _mm256_and_si256(
              magnitude, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i + 8 * k))));
  alignas(32) u32 lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes),
                     _mm256_max_epu32(_mm256_max_epu32(largest[0], largest[1]),
                                      _mm256_max_epu32(largest[2], largest[3])));
  const u32 found = *std::max_element(lanes, lanes + 8);
  return i == n ? found : std::max(found, block8::plain.largest(values + i, n - i));
}

template <bool with_sign>
MINIMA_AVX2 i64 encode256(const Tables256& t, const CodeMap& map, const float* values, i64 n,
                          float divisor, u8* codes) {
  const __m256 inverse = _mm256_set1_ps(1 / divisor);
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 tiny = _mm256_castsi256_ps(_mm256_set1_epi32(kTiny));
  const __m256i decades = _mm256_load_si256(reinterpret_cast<const __m256i*>(t.decade));
  const __m256i ends = _mm256_load_si256(reinterpret_cast<const __m256i*>(t.end));
  const __m256 slopes = _mm256_load_ps(t.slope), offsets = _mm256_load_ps(t.offset);
  const __m256 bends = _mm256_load_ps(t.bend), steeper = _mm256_set1_ps(1.25f);
  const __m256i fraction = _mm256_set1_epi32((1 << Tables256::kFraction) - Tables256::kDoubt);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i one = _mm256_set1_epi8(1), zero = _mm256_set1_epi8(127);
  i64 i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i x[4], d[4], line[4];
    __m256 q[4], place[4];
    for (int k = 0; k < 4; ++k)
      x[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i + 8 * k));
    for (int k = 0; k < 4; ++k)
      q[k] = _mm256_mul_ps(_mm256_and_ps(_mm256_castsi256_ps(x[k]), magnitude), inverse);
    for (int k = 0; k < 4; ++k) q[k] = _mm256_max_ps(q[k], tiny);
    for (int k = 0; k < 4; ++k)
      d[k] = _mm256_shuffle_epi8(decades, _mm256_srli_epi32(_mm256_castps_si256(q[k]), 24));
    for (int k = 0; k < 4; ++k)
      d[k] = _mm256_sub_epi32(d[k], _mm256_cmpgt_epi32(_mm256_castps_si256(q[k]),
                                                       _mm256_permutevar8x32_epi32(ends, d[k])));
    for (int k = 0; k < 4; ++k)
      place[k] = _mm256_fmadd_ps(q[k], _mm256_permutevar8x32_ps(slopes, d[k]),
                                 _mm256_permutevar8x32_ps(offsets, d[k]));
    for (int k = 0; k < 4; ++k)
      place[k] = _mm256_min_ps(
          place[k], _mm256_fmadd_ps(place[k], steeper, _mm256_permutevar8x32_ps(bends, d[k])));
    __m256i doubt = _mm256_setzero_si256();
    for (int k = 0; k < 4; ++k) {
      line[k] = _mm256_cvttps_epi32(place[k]);
      doubt = _mm256_or_si256(
          doubt, _mm256_cmpeq_epi32(_mm256_and_si256(line[k], fraction), _mm256_setzero_si256()));
      line[k] = _mm256_srai_epi32(line[k], Tables256::kFraction);
    }
    if (!_mm256_testz_si256(doubt, doubt)) {
      block8::plain.encode(map, values + i, 32, divisor, codes + i);
      continue;
    }
    __m256i code = _mm256_packus_epi16(_mm256_packs_epi32(line[0], line[1]),
                                       _mm256_packs_epi32(line[2], line[3]));
    if constexpr (with_sign) {  // a negative value has a place from 1 to 127
      const __m256i below_zero = _mm256_min_epu8(_mm256_max_epu8(code, one), zero);
      code = _mm256_blendv_epi8(_mm256_add_epi8(zero, code), _mm256_sub_epi8(zero, below_zero),
                                pack(x));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(code, order));
  }
  return i;
}

MINIMA_AVX2 void decode_avx2(const CodeMap& map, const u8* codes, i64 n, float absmax,
                             float* values) {
  const __m256 scale = _mm256_set1_ps(absmax);
  i64 i = 0;
  for (; i + 8 <= n; i += 8) {
    u64 c;
    std::memcpy(&c, codes + i, 8);
    const auto value = [&](int k) { return map.value[c >> (8 * k) & 0xff]; };
    const __m256 eight = _mm256_setr_ps(value(0), value(1), value(2), value(3), value(4), value(5),
                                        value(6), value(7));
    _mm256_storeu_ps(values + i, _mm256_mul_ps(eight, scale));
  }
  finish_decode(map, codes, i, n, absmax, values);
}

void encode_avx2(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes) {
  const Tables256& t = tables256(map);
  i64 done = 0;
  if (divisor > 0x1p-100f && divisor < 0x1p100f)  // else its inverse is not accurate
    done = with_sign(map) ? encode256<true>(t, map, values, n, divisor, codes)
                          : encode256<false>(t, map, values, n, divisor, codes);
  finish_encode(map, values, done, n, divisor, codes);
}

}  // namespace

namespace block8 {

Loops loops_for(VectorUnit unit) {
  if (unit == VectorUnit::avx512 && __builtin_cpu_supports("avx512vbmi"))
    return {largest512, decode_avx512, encode_avx512};
  if (unit == VectorUnit::avx2) return {largest256, decode_avx2, encode_avx2};
  return plain;
}

}  // namespace block8
}  // namespace minima

#else

minima::block8::Loops minima::block8::loops_for(VectorUnit) { return plain; }

#endif
