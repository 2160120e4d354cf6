/// CodeMap's loops in AVX2, in two ways, for on some processors a gather takes longer than plain loads.
///
///   by loads     One load for each number. The indices are cut from words of 64 bits, which hold several:
///                loading each of them too would keep the look-ups waiting.
///   by lines     Encoding without look-ups in memory, by straight lines, as in AVX-512 (code_map_avx512.cpp);
///                here eight floats fill a register of table, so a line serves a whole decade (Lines).
///   by gathers   As the plain loops do it, eight values at a time.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cpu/code_map_x86.hpp"
#include "core/cpu/intrinsics.hpp"

#if defined(__x86_64__)

#define MINIMA_AVX2 [[gnu::target("avx2,fma,bmi,bmi2")]]

namespace minima::block8 {
namespace {

/// A code's rank r: 0 has rank 0 (1 if unsigned), and decade d has the ranks from F = 2^d (2^(d+1)) to
/// 2F − 1, for the midpoints of equal parts of 10^(d−6)·[0.1, 1]. Around the decade's beginning r is
/// ⌊the least of three lines⌋ of z = |x|/absmax / 10^(d−7):
///
///     line     F · (8/9 + z/9)                     within the decade
///     across   1.25 · line − 0.25 · F − 0.25       up to its first number, whose border is at F + 0.2
///     below    5 · line − 4 · F                    within the decade below, whose parts are a fifth as wide
///
/// So only the slope needs a table. It has eight entries, for stretches of about 3.5 octaves of
/// q = scale · |x|/absmax, in each of which one decade begins; in the first stretch and the last it is
/// made such that the border of 0, and that of 1, is at F + 0.2. `scale` makes the latter the
/// beginning of the last stretch.
///
/// Where rounding could decide, near a whole number, the table of CodeMap does.
struct Lines {
  /// The stretch of q: (upper half of its bits) · kFactor / 2¹⁶.
  static constexpr u32 kFactor = 146, kFirst = 29, kLast = kFirst + 7;
  static float begin(u32 stretch) {
    return std::bit_cast<float>(((stretch << 16) + kFactor - 1) / kFactor << 16);
  }
  /// How near to a whole number, in 2⁻¹⁵, is too near, above and below together; a power of two.
  static constexpr int kDoubt = 8;

  explicit Lines(const CodeMap& map) : first_rank(with_sign(map) ? 1.0f : 2.0f) {
    const double border_of_0 = map.value[map.zero + 1] / 2.0;
    const double border_of_1 = (map.value[254] + 1.0) / 2;
    scale = static_cast<float>(begin(kLast) * (1 + 0x1p-18) / border_of_1);
    for (u32 d = 0; d < 8; ++d) {
      const double first = first_rank * std::exp2(d);
      const double rise = d == 0   ? (first / 9 + 0.2) / border_of_0
                          : d == 7 ? (first / 9 + 0.2) / border_of_1
                                   : first / 9 / std::pow(10.0, d - 7.0);
      slope[(kFirst + d) % 8] = static_cast<float>(rise / scale);
    }
  }

  float first_rank;  ///< F of decade 0
  float scale;
  alignas(32) float slope[8];  ///< at stretch % 8
};

const Lines& lines(const CodeMap& map) {
  static const Lines any(signed_code_map()), nonnegative(unsigned_code_map());
  return with_sign(map) ? any : nonnegative;
}

constexpr i64 kRound = 32;

/// From the order in which packing within lanes of 128 bits leaves 32 bytes, by fours.
MINIMA_AVX2 inline __m256i natural_fours() { return _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); }

MINIMA_AVX2 inline __m256 multiple(__m256i F, __m256i of_F) {
  return _mm256_castsi256_ps(_mm256_add_epi32(F, of_F));
}

template <bool with_sign>
MINIMA_AVX2 void encode_rounds(const CodeMap& map, const float* values, i64 n, i64 size,
                               const float* absmax, u8* codes) {
  const Lines& t = lines(map);
  const __m256 slope = _mm256_load_ps(t.slope);
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  // Below 10⁻⁷ all is nearest to 0; the lines hold from there on.
  const __m256i least = _mm256_set1_epi32(static_cast<i32>(bits_of(1e-7f * t.scale)));
  const __m256i factor = _mm256_set1_epi32(Lines::kFactor << 16);
  // Multiples of F: the bits of these plus the stretch, in the place of the exponent.
  const i32 origin = static_cast<i32>(bits_of(t.first_rank) - bits_of(1) - (Lines::kFirst << 23));
  const __m256i line_of_F = _mm256_set1_epi32(static_cast<i32>(bits_of(8 / 9.0f)) + origin);
  const __m256i across_of_F = _mm256_set1_epi32(static_cast<i32>(bits_of(-0.25f)) + origin);
  const __m256i below_of_F = _mm256_set1_epi32(static_cast<i32>(bits_of(-4)) + origin);
  // The code, or its distance from that of 0, comes in bits 15 to 22 of a float.
  const __m256 base = _mm256_set1_ps(257 - t.first_rank + Lines::kDoubt / 2 * 0x1p-15f);
  const __m256i fraction = _mm256_set1_epi32((1 << 15) - Lines::kDoubt);
  const __m256i lowest_byte = _mm256_set1_epi16(255);
  const __m256i one = _mm256_set1_epi8(1), zero = _mm256_set1_epi8(127);
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const float divisor = block8::divisor(*absmax);
    const __m256 scale = _mm256_set1_ps(t.scale / divisor);
    for (; i + kRound <= end && has_accurate_inverse(divisor); i += kRound) {
      // Stage after stage over all 32 values, so that the stages' latencies overlap.
      __m256 x[4], line[4], across[4], below[4];
      __m256i q[4], stretch[4], F[4], place[4], doubt = fraction;
      for (int k = 0; k < 4; ++k) x[k] = _mm256_loadu_ps(values + i + 8 * k);
      for (int k = 0; k < 4; ++k) q[k] = _mm256_castps_si256(_mm256_mul_ps(x[k], scale));
      if constexpr (with_sign)
        for (int k = 0; k < 4; ++k) q[k] = _mm256_and_si256(q[k], magnitude);
      for (int k = 0; k < 4; ++k) q[k] = _mm256_max_epi32(q[k], least);
      for (int k = 0; k < 4; ++k) stretch[k] = _mm256_mulhi_epu16(q[k], factor);
      for (int k = 0; k < 4; ++k) F[k] = _mm256_slli_epi32(stretch[k], 23 - 16);
      for (int k = 0; k < 4; ++k)
        line[k] = _mm256_permutevar8x32_ps(slope, _mm256_srli_epi32(stretch[k], 16));
      for (int k = 0; k < 4; ++k)
        line[k] = _mm256_fmadd_ps(_mm256_castsi256_ps(q[k]), line[k], multiple(F[k], line_of_F));
      for (int k = 0; k < 4; ++k)
        below[k] = _mm256_fmadd_ps(line[k], _mm256_set1_ps(5), multiple(F[k], below_of_F));
      for (int k = 0; k < 4; ++k)
        across[k] =
            _mm256_fmadd_ps(line[k], _mm256_set1_ps(1.25f),
                            _mm256_add_ps(multiple(F[k], across_of_F), _mm256_set1_ps(-0.25f)));
      for (int k = 0; k < 4; ++k)
        line[k] = _mm256_min_ps(line[k], _mm256_min_ps(below[k], across[k]));
      for (int k = 0; k < 4; ++k) place[k] = _mm256_castps_si256(_mm256_add_ps(line[k], base));
      for (int k = 0; k < 4; ++k)
        doubt = _mm256_min_epu32(doubt, _mm256_and_si256(place[k], fraction));
      for (int k = 0; k < 4; ++k) place[k] = _mm256_srli_epi32(place[k], 15);
      __m256i code = _mm256_packus_epi16(
          _mm256_and_si256(_mm256_packus_epi32(place[0], place[1]), lowest_byte),
          _mm256_and_si256(_mm256_packus_epi32(place[2], place[3]), lowest_byte));
      if constexpr (with_sign) {  // a negative value has a place from 1 to 127
        for (int k = 0; k < 4; ++k) q[k] = _mm256_castps_si256(x[k]);
        const __m256i sign =
            _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        const __m256i below_zero = _mm256_min_epu8(_mm256_max_epu8(code, one), zero);
        code = _mm256_add_epi8(zero,
                               _mm256_sign_epi8(_mm256_blendv_epi8(code, below_zero, sign), sign));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                          _mm256_permutevar8x32_epi32(code, natural_fours()));
      const __m256i doubtful = _mm256_cmpeq_epi32(doubt, _mm256_setzero_si256());
      if (_mm256_movemask_epi8(doubtful)) [[unlikely]]
        plain.encode(map, values + i, kRound, kRound, absmax, codes + i);
    }
    if (i < end) plain.encode(map, values + i, end - i, size, absmax, codes + i);
  }
}

}  // namespace

MINIMA_AVX2 void scale_avx2(const float* values, i64 n, i64 size, float* absmax) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    __m256i largest[4] = {};
    for (; i + kRound <= end; i += kRound)
      for (int k = 0; k < 4; ++k)
        largest[k] = _mm256_max_epu32(
            largest[k],
            _mm256_and_si256(magnitude, _mm256_castps_si256(_mm256_loadu_ps(values + i + 8 * k))));
    alignas(32) u32 found[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(found),
                       _mm256_max_epu32(_mm256_max_epu32(largest[0], largest[1]),
                                        _mm256_max_epu32(largest[2], largest[3])));
    u32 all = *std::max_element(found, found + 8);
    for (; i < end; ++i) all = std::max(all, block8::magnitude(values[i]));
    *absmax = std::bit_cast<float>(all);
  }
}

MINIMA_AVX2 void decode_by_loads_avx2(const CodeMap& map, const u8* codes, i64 n, i64 size,
                                      const float* absmax, float* values) {
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const __m256 scale = _mm256_set1_ps(*absmax);
    for (; i + 8 <= end; i += 8) {
      u64 eight;
      std::memcpy(&eight, codes + i, 8);
      const auto value = [&](int k) { return map.value[eight >> (8 * k) & 255]; };
      const __m256 found = _mm256_setr_ps(value(0), value(1), value(2), value(3), value(4),
                                          value(5), value(6), value(7));
      _mm256_storeu_ps(values + i, _mm256_mul_ps(found, scale));
    }
    if (i < end) plain.decode(map, codes + i, end - i, size, absmax, values + i);
  }
}

void encode_by_lines_avx2(const CodeMap& map, const float* values, i64 n, i64 size,
                          const float* absmax, u8* codes) {
  (with_sign(map) ? encode_rounds<true> : encode_rounds<false>)(map, values, n, size, absmax,
                                                                codes);
}

MINIMA_AVX2 void decode_by_gathers_avx2(const CodeMap& map, const u8* codes, i64 n, i64 size,
                                        const float* absmax, float* values) {
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const __m256 scale = _mm256_set1_ps(*absmax);
    for (; i + 8 <= end; i += 8) {
      const __m256i index =
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i)));
      _mm256_storeu_ps(values + i, _mm256_mul_ps(_mm256_i32gather_ps(map.value, index, 4), scale));
    }
    if (i < end) plain.decode(map, codes + i, end - i, size, absmax, values + i);
  }
}

MINIMA_AVX2 void encode_by_gathers_avx2(const CodeMap& map, const float* values, i64 n, i64 size,
                                        const float* absmax, u8* codes) {
  const __m256i lower_half = _mm256_set1_epi32(0xffff);
  for (i64 i = 0, end; i < n; i = end, ++absmax) {
    end = std::min(n, i + size);
    const __m256 divisors = _mm256_set1_ps(divisor(*absmax));
    for (; i + kRound <= end; i += kRound) {
      __m256i bits[4], found[4];
      for (int k = 0; k < 4; ++k)
        bits[k] = _mm256_castps_si256(_mm256_div_ps(_mm256_loadu_ps(values + i + 8 * k), divisors));
      for (int k = 0; k < 4; ++k)
        found[k] = _mm256_i32gather_epi32(reinterpret_cast<const int*>(map.entry),
                                          _mm256_srli_epi32(bits[k], 16), 4);
      for (int k = 0; k < 4; ++k)
        found[k] = _mm256_add_epi32(found[k], _mm256_and_si256(bits[k], lower_half));
      for (int k = 0; k < 4; ++k)  // the codes of negative numbers are mirrored
        found[k] = _mm256_xor_si256(_mm256_srli_epi32(found[k], 16),
                                    _mm256_srli_epi32(_mm256_srai_epi32(bits[k], 31), 24));
      const __m256i code = _mm256_packus_epi16(_mm256_packus_epi32(found[0], found[1]),
                                               _mm256_packus_epi32(found[2], found[3]));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                          _mm256_permutevar8x32_epi32(code, natural_fours()));
    }
    if (i < end) plain.encode(map, values + i, end - i, size, absmax, codes + i);
  }
}

}  // namespace minima::block8

#endif
