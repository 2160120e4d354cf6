/// Adafactor (Shazeer, Stern 2018, arXiv:1804.04235, Algorithms 4 and 5), as in
/// transformers.Adafactor: a second moment from the means of rows and columns, and a step size
/// relative to the weights.
///
///   α = s · max(ε₂, RMS(p))                       s = lr, or the relative step min(10⁻², 1/√t)
///                                                 (10⁻⁶ t in place of 10⁻² with warmup_init)
///   β₂ = 1 − t^decay_rate                         0 at the first step
///   R ← β₂ R + (1 − β₂) mean of (g² + ε₁) over a row        one value for each row
///   C ← β₂ C + (1 − β₂) mean of (g² + ε₁) over a column     one value for each column
///   u = g · √(mean(R)/R) · √(1/C)                 a vector keeps its whole second moment v: u = g/√v
///   u ← α u / max(1, RMS(u)/d)                    d clip_threshold
///   m ← β₁ m + (1 − β₁) u,  u = m                 only with beta1; no bias correction
///   p ← p − λ α p − u
///
/// With relative_step, the default, it makes its own step size: no lr may be given, and a schedule
/// has no effect. Two reads of the gradient from memory: sums, update.
#pragma once

#include <optional>

#include "optim/factored.hpp"
#include "optim/rule.hpp"

namespace minima {

struct Adafactor {
  static constexpr std::string_view name = "adafactor";

  struct Options {
    std::optional<double> lr;
    double eps1 = 1e-30, eps2 = 1e-3, clip_threshold = 1, decay_rate = -0.8;
    std::optional<double> beta1;
    double weight_decay = 0;
    bool scale_parameter = true, relative_step = true, warmup_init = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"clip_threshold", &Options::clip_threshold, positive},
                        Field{"decay_rate", &Options::decay_rate, nonpositive},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"scale_parameter", &Options::scale_parameter},
                        Field{"relative_step", &Options::relative_step},
                        Field{"warmup_init", &Options::warmup_init}};
    }
  };

  static void validate(const Options& o) {
    check(!(o.lr && o.relative_step),
          "adafactor: lr={} together with relative_step, which makes its own step size; leave lr "
          "out, or add relative_step=false",
          o.lr.value_or(0));
    check(o.lr || o.relative_step,
          "adafactor: relative_step=false without lr; give lr, or leave relative_step on");
    check(!o.warmup_init || o.relative_step,
          "adafactor: warmup_init without relative_step; leave warmup_init out, or set "
          "relative_step=true and no lr");
  }

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter) {
    std::vector<Slot> slots = factored_slots("exp_avg_sq", parameter.shape, "R", "C");
    slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
    if (o.beta1) slots.push_back({"exp_avg", "m"});
    return slots;
  }

  MINIMA_HD static double beta2(const Options& o, const StepView& x) {
    using std::pow;
    return 1 - pow(static_cast<double>(x.t), o.decay_rate);
  }
  /// The step before its size is made relative to the weights'.
  MINIMA_HD static double base(const Options& o, const StepView& x) {
    if (!o.relative_step) return o.lr ? *o.lr : 0;
    const double t = static_cast<double>(x.t), cap = o.warmup_init ? 1e-6 * t : 1e-2;
    return 1 / sqrt(t) < cap ? 1 / sqrt(t) : cap;
  }
  MINIMA_HD static double alpha(const Options& o, const StepView& x) {
    return base(o, x) *
           (o.scale_parameter ? larger(o.eps2, static_cast<double>(weight_rms(x))) : 1);
  }

  /// Last pass: p, and m where it is kept.
  struct Move {
    FactoredUpdate update;
    float step_size, decay, beta1, one_minus_beta1;

    MINIMA_HD static Move prepare(const Options& o, const StepView& x) {
      const double step = alpha(o, x), b1 = o.beta1 ? *o.beta1 : 0;
      return {{},
              to_float(step / FactoredUpdate::clip(o, x)),
              to_float(o.weight_decay * step),
              to_float(b1),
              to_float(1 - b1)};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g) const {
      p = p - decay * p - step_size * update(row, j, g);
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g, T& m) const {
      m = beta1 * m + one_minus_beta1 * (step_size * update(row, j, g));
      p = p - decay * p - m;
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      update.constants(f, row, j), f("α/clip", step_size), f("λα", decay), f("β₁", beta1);
      f("(1 − β₁)", one_minus_beta1);
    }
  };

  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.sums(pass<SquaresOverRows<Adafactor>>(o));
    passes.between(FactoredMoment<Adafactor>{o});
    passes.tell([&](const StepView& x) {
      x.note("β₂", "1 − t^decay_rate", beta2(o, x));
      note_means(x, running_means(x, 0), {"R", "C", "β₂", "(1 − β₂)", "g² + ε₁", "√(mean(R)/R)"});
      x.note("RMS(p)", "before the step", static_cast<double>(weight_rms(x)));
      x.note("s",
             !o.relative_step ? "lr"
             : o.warmup_init  ? "the relative step min(10⁻⁶ t, 1/√t)"
                              : "the relative step min(10⁻², 1/√t)",
             base(o, x));
      x.note("α", o.scale_parameter ? "s · max(ε₂, RMS(p))" : "s", alpha(o, x));
      note_clip(x, FactoredUpdate::rms(x), FactoredUpdate::clip(o, x));
    });
    if (o.beta1)
      passes.apply(pass<Move>(o), first_slots<1>);
    else
      passes.apply(pass<Move>(o), first_slots<0>);
  }
};

}  // namespace minima
