/// CodeMap's loops in the instructions of x86: the bits of the plain loops. The plain loop encodes and decodes what is left
/// of a block that is no multiple of their stride, and encodes a block whose scale has no accurate inverse.
#pragma once

#include "core/code_map.hpp"

namespace minima::block8 {

inline u32 bits_of(float x) { return std::bit_cast<u32>(x); }
inline bool with_sign(const CodeMap& map) { return map.value[0] < 0; }
/// Whether a product with its inverse is near to a quotient by it.
inline bool has_accurate_inverse(float divisor) {
  return divisor > 0x1p-100f && divisor < 0x1p100f;
}

void scale_avx512(const float* values, i64 n, i64 size, float* absmax);
void decode_avx512(const CodeMap& map, const u8* codes, i64 n, i64 size, const float* absmax,
                   float* values);
void encode_avx512(const CodeMap& map, const float* values, i64 n, i64 size, const float* absmax,
                   u8* codes);
void scale_avx2(const float* values, i64 n, i64 size, float* absmax);
void decode_by_loads_avx2(const CodeMap& map, const u8* codes, i64 n, i64 size, const float* absmax,
                          float* values);
void encode_by_lines_avx2(const CodeMap& map, const float* values, i64 n, i64 size,
                          const float* absmax, u8* codes);
void decode_by_gathers_avx2(const CodeMap& map, const u8* codes, i64 n, i64 size,
                            const float* absmax, float* values);
void encode_by_gathers_avx2(const CodeMap& map, const float* values, i64 n, i64 size,
                            const float* absmax, u8* codes);

}  // namespace minima::block8
