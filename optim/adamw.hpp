/// AdamW: Adam with decoupled weight decay (Loshchilov, Hutter 2019, arXiv:1711.05101, Algorithm 2),
/// as in torch.optim.AdamW; on block8 storage it is AdamW in 8 bits (Dettmers, Lewis, Shleifer,
/// Zettlemoyer 2022, arXiv:2110.02861).
///
///   p ← (1 − lr·λ) p                              decay first, on the parameter, not through the gradient;
///                                                 λ as in torch: the paper's is λ times the lr before its schedule
///   m ← β₁ m + (1 − β₁) g                         v ← β₂ v + (1 − β₂) g²
///   p ← p − lr · m̂ / (√v̂ + ε)                     m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); ε after the correction
///   AMSGrad: u ← max(u, v)                        v̂ from u, the largest v so far before the correction
///   decay_order=after                             the decay comes last, as in the CUDA kernels of bitsandbytes
#pragma once

#include <array>

#include "optim/adam.hpp"

namespace minima {

enum class DecayOrder : u8 { before, after };
inline constexpr std::array<std::string_view, 2> kDecayOrders{"before", "after"};
inline std::span<const std::string_view> choices(DecayOrder) { return kDecayOrders; }

struct AdamW {
  static constexpr std::string_view name = "adamw";

  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
    bool amsgrad = false, maximize = false;
    DecayOrder decay_order = DecayOrder::before;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"eps", &Options::eps, nonnegative},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"amsgrad", &Options::amsgrad},
                        Field{"maximize", &Options::maximize},
                        Field{"decay_order", &Options::decay_order}};
    }
  };

  static std::vector<Slot> slots(const Options& o) { return adam_slots(o.amsgrad); }

  MINIMA_HD static AdamW prepare(const Options& o, i64 t) {
    return {AdamMoments(o.lr, o.beta1, o.beta2, o.eps, t), to_float(1 - o.lr * o.weight_decay),
            o.decay_order == DecayOrder::before, o.maximize};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m, T& v) const {
    move(p, moments.step(maximize ? T(0 - g) : g, m, v));
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m, T& v, T& u) const {
    move(p, moments.step(maximize ? T(0 - g) : g, m, v, u));
  }

  template <class T>
  MINIMA_HD void move(T& p, T update) const {
    p = decay_first ? T(keep * p - update) : T(keep * (p - update));
  }

  template <class F>
  void constants(const F& f) {
    moments.constants(f), f("(1 − lr·λ)", keep);
  }

  AdamMoments moments;
  float keep;
  bool decay_first, maximize;
};

}  // namespace minima
