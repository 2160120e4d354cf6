/// A transpose within the first caches, for use within vectorize().
#pragma once

#include <cstring>
#include <type_traits>

#include "core/types.hpp"

namespace minima::ops {

using EightFloats [[gnu::vector_size(32)]] = float;

/// picked ← of a's elements, 0 to 7, and b's, 8 to 15, those at these places. By reference, for how vectors are passed
/// depends on the vector unit.
template <int... place>
MINIMA_HD void pick(const EightFloats& a, const EightFloats& b, EightFloats& picked) {
#if defined(__clang__) || __GNUC__ >= 12
  picked = __builtin_shufflevector(a, b, place...);
#else
  using Places [[gnu::vector_size(32)]] = i32;
  picked = __builtin_shuffle(a, b, Places{place...});
#endif
}

/// to [8, ld] ← the transpose of from [8, from_ld], 8 × 8 floats, by pairs, fours and eights.
MINIMA_HD void transpose_8(const float* from, i64 from_ld, float* to, i64 ld) {
  EightFloats x[8], y[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) std::memcpy(&x[i], from + i * from_ld, sizeof(EightFloats));
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pick<0, 8, 1, 9, 4, 12, 5, 13>(x[i], x[i + 1], y[i]);
    pick<2, 10, 3, 11, 6, 14, 7, 15>(x[i], x[i + 1], y[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const EightFloats low = y[i + half], high = y[i + half + 2];
      pick<0, 1, 8, 9, 4, 5, 12, 13>(low, high, x[i + 2 * half]);
      pick<2, 3, 10, 11, 6, 7, 14, 15>(low, high, x[i + 2 * half + 1]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pick<0, 1, 2, 3, 8, 9, 10, 11>(x[i], x[i + 4], y[i]);
    pick<4, 5, 6, 7, 12, 13, 14, 15>(x[i], x[i + 4], y[i + 4]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) std::memcpy(to + i * ld, &y[i], sizeof(EightFloats));
}

/// to [columns, ld] ← the transpose of from [rows, from_ld]; what follows the rows' elements in `to` stays.
template <class T>
MINIMA_HD void transpose(i64 rows, i64 columns, const T* from, i64 from_ld, T* to, i64 ld) {
  i64 whole_rows = 0, whole_columns = 0;
  if constexpr (std::is_same_v<T, float>) {
    whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
    for (i64 j = 0; j < whole_columns; j += 8)
      for (i64 i = 0; i < whole_rows; i += 8)
        transpose_8(from + i * from_ld + j, from_ld, to + j * ld + i, ld);
  }
  for (i64 i = 0; i < whole_rows; ++i)
    for (i64 j = whole_columns; j < columns; ++j) to[j * ld + i] = from[i * from_ld + j];
  for (i64 i = whole_rows; i < rows; ++i)
    for (i64 j = 0; j < columns; ++j) to[j * ld + i] = from[i * from_ld + j];
}

}  // namespace minima::ops
