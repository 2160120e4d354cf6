#include "core/rng.hpp"

#include <xxhash.h>

#include "core/cpu/intrinsics.hpp"
#include "core/cpu/simd.hpp"

namespace minima {

u64 stream_key(u64 seed, std::string_view name) { return XXH64(name.data(), name.size(), seed); }

#if defined(__x86_64__)

namespace {

using Lanes = __m256i;  // four of 64 bits; of a product's upper half nothing is read

[[gnu::target("avx2")]] inline Lanes all(u64 x) {
  return _mm256_set1_epi64x(static_cast<long long>(x));
}
/// The upper half of a product, with a word and a round's key.
[[gnu::target("avx2")]] inline Lanes mixed(Lanes product, Lanes word, Lanes key) {
  return _mm256_xor_si256(_mm256_srli_epi64(product, 32), _mm256_xor_si256(word, key));
}
/// The low halves of eight lanes.
[[gnu::target("avx2")]] inline void store_low_halves(u32* out, const Lanes (&x)[2]) {
  const __m256 halves =
      _mm256_shuffle_ps(_mm256_castsi256_ps(x[0]), _mm256_castsi256_ps(x[1]), 0x88);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm256_permute4x64_epi64(_mm256_castps_si256(halves), 0xD8));
}

// The same in eight lanes.
[[gnu::target("avx512f")]] inline __m512i all_eight(u64 x) {
  return _mm512_set1_epi64(static_cast<long long>(x));
}
[[gnu::target("avx512f")]] inline __m512i mixed(__m512i product, __m512i word, __m512i key) {
  constexpr int kXor = 0x96;
  return _mm512_ternarylogic_epi64(_mm512_srli_epi64(product, 32), word, key, kXor);
}

}  // namespace

[[gnu::target("avx512f")]] void Philox::words_by_avx512(u64 group, u64 a, u64 b, u64 c, u64 key,
                                                        u32* out) {
  const __m512i factor0 = all_eight(kFactor0), factor1 = all_eight(kFactor1),
                step0 = all_eight(kStep0), step1 = all_eight(kStep1),
                counter = _mm512_add_epi64(all_eight(16 * group),
                                           _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  // All sixteen counters, as in block().
  __m512i x0[2] = {counter, _mm512_add_epi64(counter, all_eight(8))},
          x1[2] = {all_eight(a), all_eight(a)}, x2[2] = {all_eight(b), all_eight(b)},
          x3[2] = {all_eight(c), all_eight(c)};
  __m512i k0 = all_eight(key), k1 = all_eight(key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i p = _mm512_mul_epu32(x0[half], factor0);
      const __m512i q = _mm512_mul_epu32(x2[half], factor1);
      x0[half] = mixed(q, x1[half], k0);
      x1[half] = q;
      x2[half] = mixed(p, x3[half], k1);
      x3[half] = p;
    }
    k0 = _mm512_add_epi32(k0, step0);
    k1 = _mm512_add_epi32(k1, step1);
  }
  u32* to = out;
  for (const __m512i* word : {x0, x1, x2, x3})
    for (int half = 0; half < 2; ++half, to += 8)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi64_epi32(word[half]));
}

[[gnu::target("avx2")]] void Philox::words_by_avx2(u64 group, u64 a, u64 b, u64 c, u64 key,
                                                   u32* out) {
  const Lanes factor0 = all(kFactor0), factor1 = all(kFactor1), step0 = all(kStep0),
              step1 = all(kStep1);
  for (u64 first = 0; first < 16; first += 8) {  // eight counters at a time, as in block()
    const Lanes counter = _mm256_add_epi64(all(16 * group + first), _mm256_set_epi64x(3, 2, 1, 0));
    Lanes x0[2] = {counter, _mm256_add_epi64(counter, all(4))}, x1[2] = {all(a), all(a)},
          x2[2] = {all(b), all(b)}, x3[2] = {all(c), all(c)};
    Lanes k0 = all(key), k1 = all(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const Lanes p = _mm256_mul_epu32(x0[half], factor0);
        const Lanes q = _mm256_mul_epu32(x2[half], factor1);
        x0[half] = mixed(q, x1[half], k0);
        x1[half] = q;
        x2[half] = mixed(p, x3[half], k1);
        x3[half] = p;
      }
      k0 = _mm256_add_epi32(k0, step0);
      k1 = _mm256_add_epi32(k1, step1);
    }
    store_low_halves(out + first, x0);
    store_low_halves(out + 16 + first, x1);
    store_low_halves(out + 32 + first, x2);
    store_low_halves(out + 48 + first, x3);
  }
}

bool Philox::words_in_lanes(u64 group, u64 a, u64 b, u64 c, u64 key, u32* out) {
  switch (vector_unit()) {
    case VectorUnit::avx512:
      words_by_avx512(group, a, b, c, key, out);
      return true;
    case VectorUnit::avx2:
      words_by_avx2(group, a, b, c, key, out);
      return true;
    case VectorUnit::base:
      break;
  }
  return false;
}

#else

bool Philox::words_in_lanes(u64, u64, u64, u64, u64, u32*) { return false; }

#endif

}  // namespace minima
