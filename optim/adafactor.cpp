#include "optim/adafactor.hpp"

#include "optim/factored.hpp"

namespace minima {
namespace {

/// Last pass: p, and m where it is kept.
struct Move {
  FactoredUpdate update;
  float step_size, decay, beta1, one_minus_beta1;

  struct Row {
    FactoredUpdate::Row update;
    float step_size, decay, beta1, one_minus_beta1;

    template <class T>
    MINIMA_HD void operator()(i64 j, T& p, T g) const {
      p = p - decay * p - step_size * update(j, g);
    }
    template <class T>
    MINIMA_HD void operator()(i64 j, T& p, T g, T& m) const {
      m = beta1 * m + one_minus_beta1 * (step_size * update(j, g));
      p = p - decay * p - m;
    }
    template <class F>
    void constants(const F& f) {
      update.constants(f), f("α/clip", step_size), f("λα", decay), f("β₁", beta1);
      f("(1 − β₁)", one_minus_beta1);
    }
  };
  MINIMA_HD Row row(i64 i) const {
    return {update.row(i), step_size, decay, beta1, one_minus_beta1};
  }
};

}  // namespace

std::vector<Slot> Adafactor::slots(const Options& o, const ParameterShape& parameter) {
  std::vector<Slot> slots = factored_slots("exp_avg_sq", parameter.shape, "R", "C");
  slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
  if (o.beta1) slots.push_back({"exp_avg", "m"});
  return slots;
}

void Adafactor::step(const Options& o, const StepView& view) {
  if (view.shape.size() == 0) return;
  const MatrixShape shape(view.shape);
  const double t = static_cast<double>(view.t);
  const RunningMeans means = running_means(view, "exp_avg_sq");
  float& rms_slot = *view.floats("RMS");

  const double beta2 = 1 - std::pow(t, o.decay_rate);
  view.note("β₂", "1 − t^decay_rate", beta2);
  const MatrixSums sums = matrix_pass(view, Squares{static_cast<float>(o.eps1)});
  means.update(view, sums, beta2, "R", "C");
  const double rms = rms_slot = static_cast<float>(root_mean_square(sums.total, view.shape));

  const FactorValues factors = means.inverse_roots(shape);
  const FactoredUpdate update{factors.view()};
  const double base = o.relative_step ? std::min(o.warmup_init ? 1e-6 * t : 1e-2, 1 / std::sqrt(t))
                                      : o.lr.value_or(0);
  const double alpha = base * (o.scale_parameter ? std::max(o.eps2, rms) : 1);
  view.note("RMS(p)", "before the step", rms);
  view.note("s", o.relative_step ? "the relative step min(10⁻², 1/√t)" : "lr", base);
  view.note("α", o.scale_parameter ? "s · max(ε₂, RMS(p))" : "s", alpha);
  const double clip = clip_divisor(view, update, o.clip_threshold);

  const double beta1 = o.beta1.value_or(0);
  const Move move{update, static_cast<float>(alpha / clip),
                  static_cast<float>(o.weight_decay * alpha), static_cast<float>(beta1),
                  static_cast<float>(1 - beta1)};
  if (o.beta1)
    apply_pass(view, move, std::array{*view.find("exp_avg")});
  else
    apply_pass(view, move, std::array<SlotView, 0>{});
}

}  // namespace minima
