#include "optim/adafactor_torch.hpp"

#include "optim/factored.hpp"

namespace minima {
namespace {

/// u = g/√max(v, ε₁²)
struct Update {
  Factors factors;
  float floor;
  struct Row {
    float r;
    const float* c;
    float floor;
    template <class T>
    MINIMA_HD T operator()(i64 j, T g) const {
      using std::sqrt;
      const T v = named("v", larger(T(r * T(c[j])), T(floor)));
      return named("u", T(g / sqrt(v)));
    }
    template <class F>
    void constants(const F& f) {
      f("R/max(mean(R), ε₁)", r), f("ε₁²", floor);
    }
  };
  MINIMA_HD Row row(i64 i) const { return {factors.r[i], factors.column(i), floor}; }
};

struct Move {
  Update update;
  float keep, step_size;
  struct Row {
    Update::Row update;
    float keep, step_size;
    template <class T>
    MINIMA_HD void operator()(i64 j, T& p, T g) const {
      p = keep * p - step_size * update(j, g);
    }
    template <class F>
    void constants(const F& f) {
      update.constants(f), f("(1 − lr·λ)", keep), f("α/clip", step_size);
    }
  };
  MINIMA_HD Row row(i64 i) const { return {update.row(i), keep, step_size}; }
};

}  // namespace

std::vector<Slot> AdafactorTorch::slots(const Options&, const ParameterShape& parameter) {
  if (parameter.shape.rank() < 2) return {{"variance", "v", Sign::nonnegative, parameter.shape}};
  std::vector<i64> rows(parameter.shape.begin(), parameter.shape.end()), columns = rows;
  rows.back() = 1;
  columns[columns.size() - 2] = 1;
  return {{"row_var", "R", Sign::nonnegative, Shape(std::span<const i64>(rows))},
          {"col_var", "C", Sign::nonnegative, Shape(std::span<const i64>(columns))}};
}

void AdafactorTorch::step(const Options& o, const StepView& view) {
  if (view.shape.size() == 0) return;
  const MatrixShape shape(view.shape);
  const double t = static_cast<double>(view.t), w = std::pow(t, o.beta2_decay);
  const bool factored = view.shape.rank() >= 2;
  const RunningMeans means{view.floats("row_var"), view.floats(factored ? "col_var" : "variance")};
  const auto f = [](double x) { return static_cast<float>(x); };
  const double eps1 = o.eps1.value_or(view.value.storage == Storage::bf16 ? 0x1p-7 : 0x1p-23);

  const MatrixSums sums = matrix_pass(view, Squares{0});
  view.note("w", "t^beta2_decay", w);
  means.update(view, sums, 1 - w, "R", factored ? "C" : "v");
  const double rms = root_mean_square(sums.total, view.shape);
  const double alpha = std::max(o.eps2, rms) * std::min(o.lr, 1 / std::sqrt(t));

  const FactorValues factors = means.moment(shape, eps1);
  const Update update{factors.view(), f(eps1 * eps1)};
  view.note("RMS(p)", "before the step", rms);
  view.note("α", "max(ε₂, RMS(p)) · min(lr, 1/√t)", alpha);
  const double clip = clip_divisor(view, update, o.d);
  const double direction = o.maximize ? -1 : 1;
  apply_pass(view, Move{update, f(1 - o.lr * o.weight_decay), f(direction * alpha / clip)},
             std::array<SlotView, 0>{});
}

}  // namespace minima
