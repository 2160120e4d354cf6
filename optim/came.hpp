/// CAME: confidence-guided Adafactor (Luo, Ren, Zheng, Jiang, Jiang, You 2023, arXiv:2307.02047,
/// Algorithm 2), as in came-pytorch.
///
///   R, C ← means of (g² + ε₁) over rows and columns, averaged with β₂; as in Adafactor
///   u = g · √(mean(R)/R) · √(1/C)                 u ← u / max(1, RMS(u)/d)
///   m ← β₁ m + (1 − β₁) u
///   U, S ← means of (u − m)² + ε₂ over rows and columns, averaged with β₃: the instability
///   p ← (1 − lr·λ) p − lr · m · √(mean(U)/U) · √(1/S)
///
/// A vector keeps its whole second moment and moves by m itself. Nothing is corrected for bias, and
/// the step is not clipped: S starts at 1 − β₃ of its final size, so that at the first step a matrix
/// moves by an RMS of about 11 lr. A warm-up, or a smaller lr than AdamW's, is needed.
///
/// RMS(p) is stored, as in the public implementation, and never used. Three reads of the gradient
/// from memory: sums, instability, update; m is computed twice and stored once.
#pragma once

#include "optim/factored.hpp"
#include "optim/rule.hpp"

namespace minima {

struct Came {
  static constexpr std::string_view name = "came";

  struct Options {
    double lr = 2e-4, beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, eps1 = 1e-30, eps2 = 1e-16,
           clip_threshold = 1, weight_decay = 0;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"beta3", &Options::beta3, below_one},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"clip_threshold", &Options::clip_threshold, positive},
                        Field{"weight_decay", &Options::weight_decay, nonnegative}};
    }
  };

  static std::vector<Slot> slots(const Options&, const ParameterShape& parameter) {
    std::vector<Slot> slots = factored_slots("exp_avg_sq", parameter.shape, "R", "C");
    slots.insert(slots.begin(), {"exp_avg", "m"});
    if (parameter.shape.rank() >= 2)
      std::ranges::copy(factored_slots("exp_avg_res", parameter.shape, "U", "S"),
                        std::back_inserter(slots));
    slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
    return slots;
  }

  MINIMA_HD static double beta2(const Options& o, const StepView&) { return o.beta2; }

  /// The clipped u, and m fresh from it.
  struct Momentum {
    FactoredUpdate update;
    float inverse_clip, beta1, one_minus_beta1;

    MINIMA_HD static Momentum prepare(const Options& o, const StepView& x) {
      return {
          {}, to_float(1 / FactoredUpdate::clip(o, x)), to_float(o.beta1), to_float(1 - o.beta1)};
    }
    template <class T>
    MINIMA_HD T clipped(const MatrixRow& row, i64 j, T g) const {
      return named("clipped u", T(inverse_clip * update(row, j, g)));
    }
    template <class T>
    MINIMA_HD T fresh(T u, T m) const {
      return beta1 * m + one_minus_beta1 * u;
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      update.constants(f, row, j), f("1/clip", inverse_clip), f("β₁", beta1);
      f("(1 − β₁)", one_minus_beta1);
    }
  };

  /// Second pass: (u − m)² + ε₂ by rows and columns; unused for a vector.
  struct Instability {
    Momentum momentum;
    float eps2;

    MINIMA_HD static Instability prepare(const Options& o, const StepView& x) {
      return {Momentum::prepare(o, x), to_float(o.eps2)};
    }
    MINIMA_HD Term operator()(const MatrixRow& row, i64 j, float g, float m) const {
      const float u = momentum.clipped(row, j, g), difference = u - momentum.fresh(u, m);
      return {difference * difference + eps2};
    }
  };

  /// After it: U, S and the confidence; that of a vector is 1.
  struct Confidence {
    Options o;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      const Factors& to = x.workspace.factors;
      if (x.matrix.vector) {
        if (team.leads()) *to.r[1] = 1;
        return team.each(x.matrix.columns, [c = to.c[1]](i64 j) MINIMA_INLINE { c[j] = 1; });
      }
      const RunningMeans instability = running_means(x, 2, matrix);
      instability.update(team, x.workspace, o.beta3);
      instability.inverse_roots(team, to, 1);
    }
  };

  /// Last pass: m and p.
  struct Move {
    Momentum momentum;
    float lr, keep;

    MINIMA_HD static Move prepare(const Options& o, const StepView& x) {
      return {Momentum::prepare(o, x), to_float(o.lr), to_float(1 - o.lr * o.weight_decay)};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g, T& m) const {
      m = momentum.fresh(momentum.clipped(row, j, g), m);
      p = keep * p - lr * named("weighted m", T(T(row.c[1][j]) * m * row.r[1]));
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      momentum.constants(f, row, j), f("√(mean(U)/U)", row.r[1]), f("√(1/S)", row.c[1][j]);
      f("lr", lr), f("(1 − lr·λ)", keep);
    }
  };

  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.sums(pass<SquaresOverRows<Came>>(o));
    passes.between(FactoredMoment<Came>{o});
    passes.tell([&](const StepView& x) {
      x.note("β₂", "", o.beta2);
      note_means(x, running_means(x, 0), {"R", "C", "β₂", "(1 − β₂)", "g² + ε₁", "√(mean(R)/R)"});
      note_clip(x, FactoredUpdate::rms(x), FactoredUpdate::clip(o, x));
    });
    passes.sums(pass<Instability>(o), first_slots<1>);
    passes.between(Confidence{o});
    passes.tell([&](const StepView& x) {
      if (x.matrix.vector) {
        for (const char* factor : {"√(mean(U)/U)", "√(1/S)"})
          x.note(factor, "a vector has no confidence", 1);
        return;
      }
      x.note("β₃", "", o.beta3);
      note_means(x, running_means(x, 2),
                 {"U", "S", "β₃", "(1 − β₃)", "(clipped u − m)² + ε₂", "√(mean(U)/U)"});
    });
    passes.apply(pass<Move>(o), first_slots<1>);
  }
};

}  // namespace minima
