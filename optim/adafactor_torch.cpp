#include "optim/adafactor_torch.hpp"

namespace minima {

std::vector<Slot> AdafactorTorch::slots(const Options&, const ParameterShape& parameter) {
  if (parameter.shape.rank() < 2) return {{"variance", "v", Sign::nonnegative, parameter.shape}};
  std::vector<i64> rows(parameter.shape.begin(), parameter.shape.end()), columns = rows;
  rows.back() = 1;
  columns[columns.size() - 2] = 1;
  return {{"row_var", "R", Sign::nonnegative, Shape(std::span<const i64>(rows))},
          {"col_var", "C", Sign::nonnegative, Shape(std::span<const i64>(columns))}};
}

void AdafactorTorch::note(const Options& o, const StepView& x) {
  x.note("w", "t^beta2_decay", w(o, x));
  note_means(x, running_means(x, 0), "R", x.matrix.vector ? "v" : "C");
  x.note("RMS(p)", "before the step", weight_rms(x));
  x.note("α", "max(ε₂, RMS(p)) · min(lr, 1/√t)", alpha(o, x));
  note_clip(x, o.d);
}

}  // namespace minima
