/// Conversion between element types, and filling: what Tensor itself computes.
#pragma once

#include "core/dtype.hpp"
#include "core/each.hpp"

namespace minima::ops {

/// x as another type; the 16-bit floats go through float.
template <class To, class From>
MINIMA_HD To converted(From x) {
  if constexpr (Narrow<To>)
    return To(static_cast<float>(x));
  else
    return static_cast<To>(widened(x));
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
