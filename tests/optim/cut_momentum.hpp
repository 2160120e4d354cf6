/// A rule from outside of optim/, of every function that a formula may use.
#pragma once

#include "optim/rule.hpp"

namespace minima::test {

/// m ← β m + (1 − β) c,   c the gradient cut to ± limit      p ← p − lr · m / √max(|p|, 1)
struct CutMomentum {
  static constexpr std::string_view name = "cut_momentum";
  struct Options {
    double lr = 0.125, beta = 0.9, limit = 1;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta", &Options::beta, below_one},
                        Field{"limit", &Options::limit, positive}};
    }
  };

  static std::vector<Slot> slots(const Options&) { return {{"momentum", "m"}}; }
  MINIMA_HD static CutMomentum prepare(const Options& o, i64) {
    return {to_float(o.lr), to_float(o.beta), to_float(1 - o.beta), to_float(o.limit)};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m) const {
    m = beta * m + one_minus_beta * named("c", T(sign(g) * smaller(abs(g), T(limit))));
    p = p - lr * m / sqrt(larger(abs(p), T(1)));
  }

  float lr, beta, one_minus_beta, limit;
};

}  // namespace minima::test
