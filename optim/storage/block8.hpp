/// block8: eight bits a value (Dettmers, Lewis, Shleifer, Zettlemoyer 2022, arXiv:2110.02861).
///
/// The flattened tensor is cut into blocks (256 values; the last may be shorter). A block keeps its
/// largest magnitude, `absmax`, as a float, and for each value x the code of x/absmax: the index of
/// the nearest number of a CodeMap (core/code_map.hpp). Decoding is map[code] · absmax. A block of
/// zeros has absmax 0 and the codes of 0: zero stays zero.
#pragma once

#include "core/code_map.hpp"
#include "core/types.hpp"

namespace minima {

namespace block8 {

/// How many blocks, and scales, there are.
MINIMA_HD i64 scales(i64 elements, i64 block_size) {
  return (elements + block_size - 1) / block_size;
}
/// |x| as bits: a maximum of integers needs no order of operations, and keeps NaN.
MINIMA_HD u32 magnitude(float x) { return std::bit_cast<u32>(x) & 0x7fffffffu; }
/// What the values of a block are divided by, whose largest magnitude is this: 1 where all are zero.
MINIMA_HD float divisor(u32 largest) { return largest == 0 ? 1.0f : std::bit_cast<float>(largest); }

}  // namespace block8
}  // namespace minima
