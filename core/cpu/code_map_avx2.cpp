/// CodeMap's loops in AVX2. Tables are looked up by plain loads, one for each number: a gather takes
/// longer on many processors.
#include <algorithm>

#include "core/cpu/code_map_x86.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#define MINIMA_AVX2 [[gnu::target("avx2,fma,bmi,bmi2")]]

namespace minima::block8 {

MINIMA_AVX2 u32 largest_avx2(const float* values, i64 n) {
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
  return std::max(found, plain.largest(values + i, n - i));
}

MINIMA_AVX2 void decode_avx2(const CodeMap& map, const u8* codes, i64 n, float absmax,
                             float* values) {
  const __m256 scale = _mm256_set1_ps(absmax);
  i64 i = 0;
  for (; i + 8 <= n; i += 8) {
    const auto value = [&](int k) { return map.value[codes[i + k]]; };
    const __m256 eight = _mm256_setr_ps(value(0), value(1), value(2), value(3), value(4), value(5),
                                        value(6), value(7));
    _mm256_storeu_ps(values + i, _mm256_mul_ps(eight, scale));
  }
  plain.decode(map, codes + i, n - i, absmax, values + i);
}

MINIMA_AVX2 void encode_avx2(const CodeMap& map, const float* values, i64 n, float divisor,
                             u8* codes) {
  const __m256 divisors = _mm256_set1_ps(divisor);
  const __m256i lower_half = _mm256_set1_epi32(0xffff), zero = _mm256_setzero_si256();
  const __m256i natural = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  i64 i = 0;
  for (; i + 32 <= n; i += 32) {
    alignas(32) u16 halves[64];
    __m256i x[4], code[4];
    for (int k = 0; k < 4; ++k) {
      x[k] = _mm256_castps_si256(_mm256_div_ps(_mm256_loadu_ps(values + i + 8 * k), divisors));
      _mm256_store_si256(reinterpret_cast<__m256i*>(halves + 16 * k), x[k]);
    }
    for (int k = 0; k < 4; ++k) {
      const u16* const upper = halves + 16 * k + 1;
      const auto entry = [&](int at) { return static_cast<int>(map.entry[upper[2 * at]]); };
      const __m256i found = _mm256_setr_epi32(entry(0), entry(1), entry(2), entry(3), entry(4),
                                              entry(5), entry(6), entry(7));
      code[k] = _mm256_srli_epi32(_mm256_add_epi32(found, _mm256_and_si256(x[k], lower_half)), 16);
    }
    const __m256i mirrored = _mm256_packus_epi16(_mm256_packus_epi32(code[0], code[1]),
                                                 _mm256_packus_epi32(code[2], code[3]));
    const __m256i signs =
        _mm256_packs_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
    // Packing works within lanes of 128 bits; so do both of these.
    const __m256i all = _mm256_xor_si256(mirrored, _mm256_cmpgt_epi8(zero, signs));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(all, natural));
  }
  plain.encode(map, values + i, n - i, divisor, codes + i);
}

}  // namespace minima::block8

#endif
