/// Adam (Kingma, Ba 2015, arXiv:1412.6980, Algorithm 1), with AMSGrad (Reddi, Kale, Kumar 2018,
/// Algorithm 2) as an option, as in torch.optim.Adam.
///
///   g ← g + λ p                                   L2 decay, so that it enters both moments
///   m ← β₁ m + (1 − β₁) g                         v ← β₂ v + (1 − β₂) g²
///   p ← p − lr · m̂ / (√v̂ + ε)                     m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); ε after the correction
///   AMSGrad: u ← max(u, v)                        v̂ from u, the largest v so far before the correction
#pragma once

#include "optim/rule.hpp"

namespace minima {

/// What Adam and AdamW share: two moments and the step that they give.
struct AdamMoments {
  MINIMA_HD AdamMoments(double lr, double beta1, double beta2, double eps, i64 t)
      : beta1(to_float(beta1)),
        one_minus_beta1(to_float(1 - beta1)),
        beta2(to_float(beta2)),
        one_minus_beta2(to_float(1 - beta2)),
        eps(to_float(eps)),
        step_size(to_float(lr / (1 - integer_power(beta1, t)))),
        root_correction2(to_float(1 / std::sqrt(1 - integer_power(beta2, t)))) {}

  template <class T>
  MINIMA_HD void average(T g, T& m) const {
    m = beta1 * m + one_minus_beta1 * g;
  }
  template <class T>
  MINIMA_HD void average_square(T g, T& v) const {
    v = beta2 * v + one_minus_beta2 * g * g;
  }

  /// lr · m̂ / (√v̂ + ε). √v̂ is a product with 1/√(1 − β₂ᵗ): one division less for each element.
  template <class T>
  MINIMA_HD T update(T m, T v) const {
    const T denominator = named("(√v̂ + ε)", T(root_correction2 * sqrt(v) + eps));
    return step_size * m / denominator;
  }

  /// Takes g into m and v and returns their update; with AMSGrad that of u, the largest v so far.
  template <class T>
  MINIMA_HD T step(T g, T& m, T& v) const {
    average(g, m), average_square(g, v);
    return update(m, v);
  }
  template <class T>
  MINIMA_HD T step(T g, T& m, T& v, T& u) const {
    average(g, m), average_square(g, v);
    u = larger(v, u);
    return update(m, u);
  }

  template <class F>
  void constants(const F& f) {
    f("β₁", beta1), f("(1 − β₁)", one_minus_beta1);
    f("β₂", beta2), f("(1 − β₂)", one_minus_beta2), f("ε", eps);
    // Where nothing is averaged nothing is corrected for bias.
    f(beta1 != 0 ? "lr/(1 − β₁ᵗ)" : "lr", step_size), f("1/√(1 − β₂ᵗ)", root_correction2);
  }

  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps, step_size, root_correction2;
};

inline std::vector<Slot> adam_slots(bool amsgrad) {
  std::vector<Slot> slots{{"exp_avg", "m"}, {"exp_avg_sq", "v", Sign::nonnegative}};
  if (amsgrad) slots.push_back({"max_exp_avg_sq", "u", Sign::nonnegative});
  return slots;
}

struct Adam {
  static constexpr std::string_view name = "adam";

  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    bool amsgrad = false, maximize = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"eps", &Options::eps, nonnegative},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"amsgrad", &Options::amsgrad},
                        Field{"maximize", &Options::maximize}};
    }
  };

  static std::vector<Slot> slots(const Options& o) { return adam_slots(o.amsgrad); }

  MINIMA_HD static Adam prepare(const Options& o, i64 t) {
    return {AdamMoments(o.lr, o.beta1, o.beta2, o.eps, t), to_float(o.weight_decay), o.maximize};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m, T& v) const {
    p = p - moments.step(decayed(p, g, weight_decay, maximize), m, v);
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m, T& v, T& u) const {
    p = p - moments.step(decayed(p, g, weight_decay, maximize), m, v, u);
  }

  template <class F>
  void constants(const F& f) {
    moments.constants(f), f("λ", weight_decay);
  }

  AdamMoments moments;
  float weight_decay;
  bool maximize;
};

}  // namespace minima
