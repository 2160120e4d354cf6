/// CodeMap's loops in the instructions of x86: the bits of the plain loops. What is left of a block that
/// is no multiple of their stride takes the plain loop.
#pragma once

#include "core/code_map.hpp"

namespace minima::block8 {

inline u32 bits_of(float x) { return std::bit_cast<u32>(x); }
inline bool with_sign(const CodeMap& map) { return map.value[0] < 0; }

u32 largest_avx512(const float* values, i64 n);
void decode_avx512(const CodeMap& map, const u8* codes, i64 n, float absmax, float* values);
void encode_avx512(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes);
u32 largest_avx2(const float* values, i64 n);
void decode_by_loads_avx2(const CodeMap& map, const u8* codes, i64 n, float absmax, float* values);
void encode_by_lines_avx2(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes);
void decode_by_gathers_avx2(const CodeMap& map, const u8* codes, i64 n, float absmax,
                            float* values);
void encode_by_gathers_avx2(const CodeMap& map, const float* values, i64 n, float divisor,
                            u8* codes);

}  // namespace minima::block8
