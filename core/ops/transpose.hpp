/// A transpose within the first caches, for use within vectorize().
#pragma once

#include <cstring>
#include <type_traits>

#include "core/types.hpp"

namespace minima::ops {

/// to [8, ld] ← the transpose of from [8, from_ld], 8 × 8 floats, by pairs, fours and eights.
MINIMA_HD void transpose_8(const float* from, i64 from_ld, float* to, i64 ld) {
  using Row [[gnu::vector_size(32)]] = float;
  Row x[8], y[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) std::memcpy(&x[i], from + i * from_ld, sizeof(Row));
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const Row low = y[i + half], high = y[i + half + 2];
      x[i + 2 * half] = __builtin_shufflevector(low, high, 0, 1, 8, 9, 4, 5, 12, 13);
      x[i + 2 * half + 1] = __builtin_shufflevector(low, high, 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    y[i] = __builtin_shufflevector(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    y[i + 4] = __builtin_shufflevector(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) std::memcpy(to + i * ld, &y[i], sizeof(Row));
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
