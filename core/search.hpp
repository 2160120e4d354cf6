/// Binary search that device code can use too: nvcc compiles std::lower_bound without a word, but so that it never moves
/// to the middle (std::advance does nothing on a GPU).
#pragma once

#include "core/types.hpp"

namespace minima {

/// How many of the ascending values[0 … count) are less than `bound`.
MINIMA_HD i64 count_below(const i64* values, i64 count, i64 bound) {
  i64 begin = 0;
  while (begin < count) {
    const i64 middle = begin + (count - begin) / 2;
    if (values[middle] < bound)
      begin = middle + 1;
    else
      count = middle;
  }
  return begin;
}

}  // namespace minima
