/// SGD with momentum (Polyak 1964; Nesterov 1983; Sutskever, Martens, Dahl, Hinton 2013), as in
/// torch.optim.SGD.
///
///   g ← g + λ p                                   L2 decay, through the gradient
///   b ← μ b + (1 − τ) g                           τ dampening; b = g at the first step
///   p ← p − lr · b                                Nesterov: p ← p − lr · (g + μ b)
#pragma once

#include "optim/rule.hpp"

namespace minima {

struct Sgd {
  static constexpr std::string_view name = "sgd";

  struct Options {
    double lr = 1e-3, momentum = 0, dampening = 0;
    bool nesterov = false;
    double weight_decay = 0;
    bool maximize = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"momentum", &Options::momentum, nonnegative},
                        Field{"dampening", &Options::dampening},
                        Field{"nesterov", &Options::nesterov},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"maximize", &Options::maximize}};
    }
  };

  static void validate(const Options& o) {
    check(
        !o.nesterov || (o.momentum > 0 && o.dampening == 0),
        "sgd: nesterov with momentum {} and dampening {}; set a momentum above 0 and no dampening, "
        "or leave nesterov out",
        o.momentum, o.dampening);
  }

  static std::vector<Slot> slots(const Options& o) {
    if (o.momentum == 0) return {};
    return {{"momentum_buffer", "b"}};
  }

  static bool keeps_step(const Options& o) { return o.momentum != 0 && o.dampening != 0; }

  MINIMA_HD static Sgd prepare(const Options& o, i64 t) {
    return {to_float(o.lr),       to_float(o.weight_decay),
            to_float(o.momentum), to_float(t == 1 ? 1 : 1 - o.dampening),
            o.nesterov,           o.maximize};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - lr * decayed(p, g, weight_decay, maximize);
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& b) const {
    g = decayed(p, g, weight_decay, maximize);
    b = momentum * b + one_minus_dampening * g;
    const T direction = nesterov ? T(g + momentum * b) : b;
    p = p - lr * direction;
  }

  template <class F>
  void constants(const F& f) {
    f("lr", lr), f("λ", weight_decay), f("μ", momentum), f("(1 − τ)", one_minus_dampening);
  }

  float lr, weight_decay, momentum, one_minus_dampening;
  bool nesterov, maximize;
};

}  // namespace minima
