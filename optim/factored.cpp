#include "optim/factored.hpp"

namespace minima {

void note_means(const StepView& view, const RunningMeans& means, const MeanLetters& letters) {
  if (view.probe->element < 0) return;
  const i64 row = view.probe->element / view.matrix.columns;
  RunningMeans here = means;
  here.k = row / view.matrix.rows;
  const i64 column = here.k * view.matrix.columns + view.probe->element % view.matrix.columns;
  const auto note = [&](const std::string& mean, const std::string& of, double sum, i64 count,
                        const char* letter, float value) {
    view.note(mean, of, sum / static_cast<double>(count));
    view.note(letter, fmt::format("{} {} + {} · {}", letters.keep, letter, letters.take, mean),
              static_cast<double>(value));
  };
  const std::string square = letters.square, of = "of " + square;
  if (!means.R) {
    note("(" + square + ")", "", view.workspace.columns[column], 1, letters.column,
         means.C[column]);
    return view.note(letters.of_row, "a vector has no means of rows", 1);
  }
  note(fmt::format("row mean ({})", letters.row), of, view.workspace.rows[row], view.matrix.columns,
       letters.row, means.R[row]);
  view.note(fmt::format("mean({})", letters.row), "over all rows", here.mean_of_rows(ops::Alone{}));
  note(fmt::format("col mean ({})", letters.column), of, view.workspace.columns[column],
       view.matrix.rows, letters.column, means.C[column]);
}

void note_clip(const StepView& view, double rms, double divisor) {
  view.note("RMS(u)", "over the whole tensor", rms);
  view.note("clip", "max(1, RMS(u)/d)", divisor);
}

std::vector<Slot> factored_slots(const std::string& name, const Shape& parameter,
                                 const char* row_letter, const char* column_letter) {
  if (parameter.rank() < 2) return {{name, column_letter, Sign::nonnegative, parameter}};
  std::vector<i64> rows(parameter.begin(), parameter.end() - 1), columns = rows;
  columns.back() = parameter[-1];
  return {{name + "_row", row_letter, Sign::nonnegative, Shape(std::span<const i64>(rows))},
          {name + "_col", column_letter, Sign::nonnegative, Shape(std::span<const i64>(columns))}};
}

void for_moment(float* R, float* C, const MatrixShape& shape,
                const std::function<void(double)>& f) {
  std::vector<float> r(static_cast<std::size_t>(shape.batch * shape.rows));
  std::vector<float> c(static_cast<std::size_t>(shape.batch * shape.columns));
  const Factors factors{{r.data(), r.data()}, {c.data(), c.data()}, shape.rows, shape.columns};
  for (i64 k = 0; k < shape.batch; ++k)
    RunningMeans{R, C, shape, k}.moment(ops::Alone{}, 0, factors);
  for (i64 i = 0; i < shape.batch * shape.rows; ++i) {
    const MatrixRow row = factors.row(i);
    for (i64 j = 0; j < shape.columns; ++j)
      f(static_cast<double>(row.r[0]) * static_cast<double>(row.c[0][j]));
  }
}

}  // namespace minima
