/// Conversion between element types, and filling: what Tensor itself computes.
#pragma once

#include <limits>

#include "core/dtype.hpp"
#include "core/each.hpp"

namespace minima::ops {

/// x as another type; the 16-bit floats go through float. An integer type takes what stands before the point, the nearest
/// number that it has where it has not that, and 0 for NaN.
template <class To, class From>
MINIMA_HD To converted(From x) {
  if constexpr (Narrow<To>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::integral<To>) {
    using X = Widened<From>;
    constexpr To least = std::numeric_limits<To>::min(), most = std::numeric_limits<To>::max();
    const X value = widened(x);
    if constexpr (std::integral<X>) {
      const i64 wide = value;
      return wide < least ? least : wide > most ? most : static_cast<To>(wide);
    } else {
      constexpr X beyond = 2 * static_cast<X>(most / 2 + 1);  // exact, as `most` may not be
      return value >= beyond                  ? most
             : value <= static_cast<X>(least) ? least
             : value == value                 ? static_cast<To>(value)
                                              : To{0};
    }
  } else {
    return static_cast<To>(widened(x));
  }
}

template <class To, class From>
struct Convert {
  static constexpr i64 kPack = 4;
  const From* from;
  To* to;
  MINIMA_HD void operator()(i64 i) const { to[i] = converted<To>(from[i]); }
  MINIMA_HD bool in_packs() const { return Four<From>::fits(from) && Four<To>::fits(to); }
  MINIMA_HD void pack(i64 i) const {
    const auto values = Four<From>::load(from + i);
    Four<To> result;
    for (int k = 0; k < 4; ++k) result.x[k] = converted<To>(values.x[k]);
    result.store(to + i);
  }
};

template <class T>
struct Fill {
  T value;
  T* to;
  MINIMA_HD void operator()(i64 i) const { to[i] = value; }
};

}  // namespace minima::ops
