/// What feed_forward (core/ops/feed_forward.hpp) does between its products; T is how the hidden layer is stored.
#pragma once

#include "core/each.hpp"
#include "core/ops/convert.hpp"
#include "core/ops/elementwise.hpp"

namespace minima::ops {

/// g ← gelu(h).
template <class T>
struct HiddenForward {
  static constexpr i64 kPack = 16 / sizeof(T);
  const T* h;
  T* g;

  MINIMA_HD static T gelu(T h) { return converted<T>(Gelu{}(widened(h))); }
  MINIMA_HD void operator()(i64 i) const { g[i] = gelu(h[i]); }

  MINIMA_HD bool in_packs() const { return Pack<T, kPack>::fits(h) && Pack<T, kPack>::fits(g); }
  MINIMA_HD void pack(i64 i) const {
    auto values = Pack<T, kPack>::load(h + i);
    for (T& x : values.x) x = gelu(x);
    values.store(g + i);
  }
};

/// dh ← dg ⊙ gelu′(h), h ← g; dh comes in as dg.
template <class T>
struct HiddenBackward {
  static constexpr i64 kPack = 16 / sizeof(T);
  T *dh, *h;

  MINIMA_HD static void apply(T& dh, T& h) {
    const auto x = widened(h);
    // Both before either is stored: for all that a compiler knows dh and h are one place, and it would take the exponential
    // twice.
    const auto gradient = widened(dh) * Gelu{}.derivative(x), g = Gelu{}(x);
    dh = converted<T>(gradient);
    h = converted<T>(g);
  }
  MINIMA_HD void operator()(i64 i) const { apply(dh[i], h[i]); }

  MINIMA_HD bool in_packs() const { return Pack<T, kPack>::fits(dh) && Pack<T, kPack>::fits(h); }
  MINIMA_HD void pack(i64 i) const {
    auto gradients = Pack<T, kPack>::load(dh + i), values = Pack<T, kPack>::load(h + i);
    for (int k = 0; k < kPack; ++k) apply(gradients.x[k], values.x[k]);
    gradients.store(dh + i);
    values.store(h + i);
  }
};

}  // namespace minima::ops
