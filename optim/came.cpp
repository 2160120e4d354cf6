#include "optim/came.hpp"

#include "optim/factored.hpp"

namespace minima {
namespace {

/// The clipped u, and m fresh from it.
struct Momentum {
  FactoredUpdate::Row update;
  float inverse_clip, beta1, one_minus_beta1;

  template <class T>
  MINIMA_HD T clipped(i64 j, T g) const {
    return named("clipped u", T(inverse_clip * update(j, g)));
  }
  template <class T>
  MINIMA_HD T fresh(T u, T m) const {
    return beta1 * m + one_minus_beta1 * u;
  }
  template <class F>
  void constants(const F& f) {
    update.constants(f), f("1/clip", inverse_clip), f("β₁", beta1);
    f("(1 − β₁)", one_minus_beta1);
  }
};

struct MomentumOf {
  FactoredUpdate update;
  float inverse_clip, beta1, one_minus_beta1;
  MINIMA_HD Momentum row(i64 i) const {
    return {update.row(i), inverse_clip, beta1, one_minus_beta1};
  }
};

/// Third pass: (u − m)² + ε₂ by rows and columns.
struct Instability {
  MomentumOf momentum;
  float eps2;
  struct Row {
    Momentum momentum;
    float eps2;
    MINIMA_HD Term operator()(i64 j, float g, float, float m) const {
      const float u = momentum.clipped(j, g), difference = u - momentum.fresh(u, m);
      return {difference * difference + eps2};
    }
  };
  MINIMA_HD Row row(i64 i) const { return {momentum.row(i), eps2}; }
};

/// Last pass: m and p. For a vector the confidence is 1.
struct Move {
  MomentumOf momentum;
  Factors confidence;
  float lr, keep;
  struct Row {
    Momentum momentum;
    float r;
    const float* c;
    float lr, keep;
    template <class T>
    MINIMA_HD void operator()(i64 j, T& p, T g, T& m) const {
      m = momentum.fresh(momentum.clipped(j, g), m);
      p = keep * p - lr * named("d", T(T(c[j]) * m * r));
    }
    template <class F>
    void constants(const F& f) {
      momentum.constants(f), f("√(mean(U)/U)", r), f("lr", lr), f("(1 − lr·λ)", keep);
    }
  };
  MINIMA_HD Row row(i64 i) const {
    return {momentum.row(i), confidence.r[i], confidence.column(i), lr, keep};
  }
};

}  // namespace

std::vector<Slot> Came::slots(const Options&, const ParameterShape& parameter) {
  std::vector<Slot> slots{{"exp_avg", "m"}};
  std::ranges::copy(factored_slots("exp_avg_sq", parameter.shape, "R", "C"),
                    std::back_inserter(slots));
  if (parameter.shape.rank() >= 2)
    std::ranges::copy(factored_slots("exp_avg_res", parameter.shape, "U", "S"),
                      std::back_inserter(slots));
  slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
  return slots;
}

void Came::step(const Options& o, const StepView& view) {
  if (view.shape.size() == 0) return;
  const MatrixShape shape(view.shape);
  const std::array<SlotView, 1> exp_avg{*view.find("exp_avg")};
  const auto f = [](double x) { return static_cast<float>(x); };

  const MatrixSums squares = matrix_pass(view, Squares{f(o.eps1)});
  const RunningMeans moment = running_means(view, "exp_avg_sq");
  moment.update(view, squares, o.beta2, "R", "C");
  *view.floats("RMS") = f(root_mean_square(squares.total, view.shape));

  const FactorValues factors = moment.inverse_roots(shape);
  const FactoredUpdate update{factors.view()};
  const double clip = clip_divisor(view, update, o.clip_threshold);
  const MomentumOf momentum{update, f(1 / clip), f(o.beta1), f(1 - o.beta1)};

  FactorValues confidence(shape);
  if (view.shape.rank() >= 2) {
    const RunningMeans instability = running_means(view, "exp_avg_res");
    instability.update(view, matrix_pass(view, Instability{momentum, f(o.eps2)}, exp_avg), o.beta3,
                       "U", "S");
    confidence = instability.inverse_roots(shape);
  } else {
    std::ranges::fill(confidence.c, 1.0f);
  }
  apply_pass(view, Move{momentum, confidence.view(), f(o.lr), f(1 - o.lr * o.weight_decay)},
             exp_avg);
}

}  // namespace minima
