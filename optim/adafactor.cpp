#include "optim/adafactor.hpp"

namespace minima {
namespace {

/// average ← β₂ average + (1 − β₂) sum/count
void accumulate(float* average, const std::vector<double>& sums, i64 count, double beta2) {
  for (std::size_t i = 0; i < sums.size(); ++i)
    average[i] = static_cast<float>(beta2 * average[i] +
                                    (1 - beta2) * (sums[i] / static_cast<double>(count)));
}

}  // namespace

void Adafactor::step(const Options& o, const StepView& view) {
  using namespace adafactor;
  if (view.shape.size() == 0) return;
  const MatrixShape shape(view.shape);
  const double size = static_cast<double>(view.shape.size()), t = static_cast<double>(view.t);
  const auto floats = [&](int slot) {
    return static_cast<float*>(view.slots[static_cast<std::size_t>(slot)].values);
  };
  const bool factored = view.shape.rank() >= 2;
  float* const R = factored ? floats(0) : nullptr;
  float* const C = floats(factored ? 1 : 0);
  const int rms_slot = factored ? 2 : 1;

  const MatrixSums sums = matrix_pass(view, Squares{static_cast<float>(o.eps1)});
  const double beta2 = 1 - std::pow(t, o.decay_rate);
  if (R) accumulate(R, sums.rows, shape.columns, beta2);
  accumulate(C, sums.columns, shape.rows, beta2);
  const double rms = *floats(rms_slot) = static_cast<float>(std::sqrt(sums.total / size));

  std::vector<float> r(sums.rows.size(), 1.0f), c(sums.columns.size());
  for (i64 matrix = 0; R && matrix < shape.batch; ++matrix) {
    double mean = 0;
    const i64 first = matrix * shape.rows;
    for (i64 i = first; i < first + shape.rows; ++i) mean += R[i];
    mean /= static_cast<double>(shape.rows);
    for (i64 i = first; i < first + shape.rows; ++i)
      r[static_cast<std::size_t>(i)] = static_cast<float>(std::sqrt(mean / R[i]));
  }
  for (std::size_t j = 0; j < c.size(); ++j) c[j] = 1 / std::sqrt(C[j]);
  const Factors factors{r.data(), c.data(), shape.rows, shape.columns};

  const double update_rms = std::sqrt(total_pass(view, UpdateSquares{factors}) / size);
  const double base = o.relative_step ? std::min(o.warmup_init ? 1e-6 * t : 1e-2, 1 / std::sqrt(t))
                                      : o.lr.value_or(0);
  const double alpha = base * (o.scale_parameter ? std::max(o.eps2, rms) : 1);
  const double beta1 = o.beta1.value_or(0);
  const Move move{factors, static_cast<float>(alpha / std::max(1.0, update_rms / o.clip_threshold)),
                  static_cast<float>(o.weight_decay * alpha), static_cast<float>(beta1),
                  static_cast<float>(1 - beta1)};
  if (o.beta1)
    apply_pass(view, move, std::array{view.slots[static_cast<std::size_t>(rms_slot + 1)]});
  else
    apply_pass(view, move, std::array<SlotView, 0>{});
}

}  // namespace minima
