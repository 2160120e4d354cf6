/// Adafactor (Shazeer, Stern 2018, arXiv:1804.04235) as in torch.optim.Adafactor, which is not the
/// one of Transformers (optim/adafactor.hpp): the step size is always relative to the weights, ε₁
/// is a floor and not a summand, and weight decay takes lr itself.
///
///   α = max(ε₂, RMS(p)) · min(lr, 1/√t)           p before its decay
///   p ← (1 − lr·λ) p
///   w = t^beta2_decay                             1 at the first step
///   R ← R + w (mean of g² over a row − R)         C likewise over a column
///   v = max(R C / max(mean(R), ε₁), ε₁²)          a vector: v ← v + w (g² − v), and the same floor
///   u = g/√v                                      p ← p − α u / max(1, RMS(u)/d)
///
/// Where the RMS of the gradient is below √ε₁ (3.5e-4 by default) the floor acts, and v is no longer
/// a second moment.
#pragma once

#include "optim/factored.hpp"
#include "optim/rule.hpp"

namespace minima {

struct AdafactorTorch {
  static constexpr std::string_view name = "adafactor-torch";

  struct Options {
    double lr = 1e-2, beta2_decay = -0.8;
    std::optional<double> eps1;  ///< none: the machine epsilon of the weight's type
    double eps2 = 1e-3, d = 1, weight_decay = 0;
    bool maximize = false;

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta2_decay", &Options::beta2_decay, nonpositive},
                        Field{"eps1", &Options::eps1, nonnegative},
                        Field{"eps2", &Options::eps2, nonnegative},
                        Field{"d", &Options::d, at_least_one},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"maximize", &Options::maximize}};
    }
  };

  static std::vector<Slot> slots(const Options&, const ParameterShape& parameter) {
    const Shape& shape = parameter.shape;
    if (shape.rank() < 2) return {{"variance", "v", Sign::nonnegative, shape}};
    return {{"row_var", "R", Sign::nonnegative, shape.with(-1, 1)},
            {"col_var", "C", Sign::nonnegative, shape.with(-2, 1)}};
  }

  MINIMA_HD static double w(const Options& o, const StepView& x) {
    using std::pow;
    return pow(static_cast<double>(x.t), o.beta2_decay);
  }
  MINIMA_HD static double eps1(const Options& o, const StepView& x) {
    return o.eps1 ? *o.eps1 : x.value.storage == Storage::bf16 ? 0x1p-7 : 0x1p-23;
  }
  /// RMS(p) before the step, which the first pass leaves in the workspace.
  MINIMA_HD static double& weight_rms(const StepView& x) { return x.workspace.numbers[1]; }
  MINIMA_HD static double alpha(const Options& o, const StepView& x) {
    const double root = 1 / sqrt(static_cast<double>(x.t));
    return larger(o.eps2, weight_rms(x)) * (root < o.lr ? root : o.lr);
  }
  /// After the pass SquareOfUpdate.
  MINIMA_HD static double update_rms(const StepView& x) {
    return root_mean_square(x.workspace.numbers[0], x);
  }
  /// As torch's, 1 where RMS(u) is NaN.
  MINIMA_HD static double clip(const Options& o, const StepView& x) {
    return larger(1.0, clip_divisor(update_rms(x), o.d));
  }

  /// After the first pass: R, C and their moment; RMS(p).
  struct Means {
    Options o;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      const RunningMeans means = running_means(x, 0, matrix);
      means.update(team, x.workspace, 1 - w(o, x));
      means.moment(team, eps1(o, x), x.workspace.factors);
      if (matrix == 0 && team.leads()) weight_rms(x) = root_mean_square(x.workspace.numbers[0], x);
    }
  };

  /// u = g/√max(v, ε₁²)
  struct Update {
    float floor;
    MINIMA_HD static Update prepare(const Options& o, const StepView& x) {
      return {to_float(eps1(o, x) * eps1(o, x))};
    }
    template <class T>
    MINIMA_HD T operator()(const MatrixRow& row, i64 j, T g) const {
      const T v = named("v", larger(T(row.r[0] * T(row.c[0][j])), T(floor)));
      return named("u", T(g / sqrt(v)));
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      f("R/max(mean(R), ε₁)", row.r[0]), f("C", row.c[0][j]), f("ε₁²", floor);
    }
  };

  /// Second pass: u² in all.
  struct SquareOfUpdate {
    Update update;
    MINIMA_HD static SquareOfUpdate prepare(const Options& o, const StepView& x) {
      return {Update::prepare(o, x)};
    }
    MINIMA_HD Total operator()(const MatrixRow& row, i64 j, float g) const {
      const float u = update(row, j, g);
      return {u * u};
    }
  };

  /// Last pass.
  struct Move {
    Update update;
    float keep, step_size;
    MINIMA_HD static Move prepare(const Options& o, const StepView& x) {
      const double direction = o.maximize ? -1 : 1;
      return {Update::prepare(o, x), to_float(1 - o.lr * o.weight_decay),
              to_float(direction * alpha(o, x) / clip(o, x))};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g) const {
      p = keep * p - step_size * update(row, j, g);
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      update.constants(f, row, j), f("(1 − lr·λ)", keep);
      f(step_size < 0 ? "(−α/clip)" : "α/clip", step_size);  // negative: maximize
    }
  };

  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.sums(pass<Squares>(0.0));
    passes.between(Means{o});
    passes.sums(pass<SquareOfUpdate>(o));
    passes.tell([&](const StepView& x) {
      x.note("w", "t^beta2_decay", w(o, x));
      note_means(x, running_means(x, 0), {"R", "C", "(1 − w)", "w", "g²", "R/max(mean(R), ε₁)"});
      x.note("RMS(p)", "before the step", weight_rms(x));
      x.note("α", "max(ε₂, RMS(p)) · min(lr, 1/√t)", alpha(o, x));
      note_clip(x, update_rms(x), clip(o, x));
    });
    passes.apply(pass<Move>(o), first_slots<0>);
  }
};

}  // namespace minima
