/// Lion (Chen, Liang, et al. 2023, arXiv:2302.06675, Algorithm 2): steps of one size, by sign.
///
///   p ← (1 − lr·λ) p − lr · sign(β₁ m + (1 − β₁) g)     sign(0) = 0
///   m ← β₂ m + (1 − β₂) g
#pragma once

#include "optim/rule.hpp"

namespace minima {

struct Lion {
  static constexpr std::string_view name = "lion";
  struct Options {
    double lr = 1e-4, beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative}};
    }
  };

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg", "m"}}; }
  MINIMA_HD static Lion prepare(const Options& o, i64) {
    return {to_float(o.lr),    to_float(o.beta1),     to_float(1 - o.beta1),
            to_float(o.beta2), to_float(1 - o.beta2), to_float(1 - o.lr * o.weight_decay)};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m) const {
    p = keep * p - lr * sign(T(beta1 * m + one_minus_beta1 * g));
    m = beta2 * m + one_minus_beta2 * g;
  }

  template <class F>
  void constants(const F& f) {
    f("lr", lr), f("β₁", beta1), f("(1 − β₁)", one_minus_beta1), f("β₂", beta2);
    f("(1 − β₂)", one_minus_beta2), f("(1 − lr·λ)", keep);
  }

  float lr, beta1, one_minus_beta1, beta2, one_minus_beta2, keep;
};

}  // namespace minima
