/// CodeMap's loops in AVX2. Tables are looked up by plain loads, one for each number: a gather takes
/// longer on many processors. The indices are cut from words of 64 bits, which hold several: loading
/// each of them too would keep the look-ups waiting.
#include <cstring>

#include "core/cpu/code_map_x86.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#define MINIMA_AVX2 [[gnu::target("avx2,fma,bmi,bmi2")]]

namespace minima::block8 {

MINIMA_AVX2 void decode_avx2(const CodeMap& map, const u8* codes, i64 n, float absmax,
                             float* values) {
  const __m256 scale = _mm256_set1_ps(absmax);
  i64 i = 0;
  for (; i + 8 <= n; i += 8) {
    u64 eight;
    std::memcpy(&eight, codes + i, 8);
    const auto value = [&](int k) { return map.value[eight >> (8 * k) & 255]; };
    const __m256 found = _mm256_setr_ps(value(0), value(1), value(2), value(3), value(4), value(5),
                                        value(6), value(7));
    _mm256_storeu_ps(values + i, _mm256_mul_ps(found, scale));
  }
  plain.decode(map, codes + i, n - i, absmax, values + i);
}

constexpr i64 kRound = 32;

MINIMA_AVX2 inline void divide_round(const float* values, float divisor, u64* quotients) {
  for (int k = 0; k < kRound; k += 8)
    _mm256_store_ps(reinterpret_cast<float*>(quotients) + k,
                    _mm256_div_ps(_mm256_loadu_ps(values + k), _mm256_set1_ps(divisor)));
}

MINIMA_AVX2 void encode_avx2(const CodeMap& map, const float* values, i64 n, float divisor,
                             u8* codes) {
  const i64 whole = n / kRound * kRound;
  const __m256i lower_half = _mm256_set1_epi32(0xffff), zero = _mm256_setzero_si256();
  const __m256i natural = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  // Quotients, two in a word, are made two rounds before they are looked up: division takes long.
  alignas(32) u64 pairs[4][kRound / 2];
  const auto divide = [&](i64 i) {
    if (i < whole) divide_round(values + i, divisor, pairs[i / kRound % 4]);
  };
  divide(0), divide(kRound);
  for (i64 i = 0; i < whole; i += kRound) {
    divide(i + 2 * kRound);
    __m256i x[4], code[4];
    for (int k = 0; k < 4; ++k) {
      const u64* const pair = pairs[i / kRound % 4] + 4 * k;
      x[k] = _mm256_load_si256(reinterpret_cast<const __m256i*>(pair));
      const auto entry = [&](int j) {
        const u64 x = pair[j / 2];
        return static_cast<int>(map.entry[j % 2 ? x >> 48 : static_cast<u32>(x) >> 16]);
      };
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
  plain.encode(map, values + whole, n - whole, divisor, codes + whole);
}

}  // namespace minima::block8

#endif
