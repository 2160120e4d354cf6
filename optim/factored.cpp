#include "optim/factored.hpp"

namespace minima {
namespace {

void update_means(float* means, const std::vector<double>& sums, i64 count, double beta) {
  for (std::size_t i = 0; i < sums.size(); ++i)
    means[i] = static_cast<float>(beta * static_cast<double>(means[i]) +
                                  (1 - beta) * (sums[i] / static_cast<double>(count)));
}

double mean(const float* x, i64 n) {
  double sum = 0;
  for (i64 i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  return sum / static_cast<double>(n);
}

/// r = factor(R, max(mean(R), floor)) for each row; the columns' are left open.
template <class F>
FactorValues row_factors(const RunningMeans& means, const MatrixShape& shape, double floor,
                         const F& factor) {
  FactorValues factors(shape);
  for (i64 matrix = 0; means.R && matrix < shape.batch; ++matrix) {
    const i64 first = matrix * shape.rows;
    const double whole = std::max(mean(means.R + first, shape.rows), floor);
    for (i64 i = first; i < first + shape.rows; ++i)
      factors.r[static_cast<std::size_t>(i)] =
          static_cast<float>(factor(static_cast<double>(means.R[i]), whole));
  }
  return factors;
}

}  // namespace

void RunningMeans::update(const StepView& view, const MatrixSums& sums, double beta,
                          const char* row_letter, const char* column_letter) const {
  const MatrixShape shape(view.shape);
  if (R) update_means(R, sums.rows, shape.columns, beta);
  update_means(C, sums.columns, R ? shape.rows : 1, beta);
  if (!view.probe || view.probe->element < 0) return;
  const i64 row = view.probe->element / shape.columns;
  const i64 column = view.probe->element % shape.columns;
  const i64 matrix = row / shape.rows;
  if (R) {
    view.note(row_letter, "the running mean of its row", static_cast<double>(R[row]));
    view.note(fmt::format("mean({})", row_letter), "over all rows",
              mean(R + matrix * shape.rows, shape.rows));
  }
  view.note(column_letter, R ? "the running mean of its column" : "its own running mean",
            static_cast<double>(C[matrix * shape.columns + column]));
}

FactorValues RunningMeans::inverse_roots(const MatrixShape& shape) const {
  FactorValues factors =
      row_factors(*this, shape, 0, [](double r, double mean) { return std::sqrt(mean / r); });
  for (std::size_t j = 0; j < factors.c.size(); ++j) factors.c[j] = 1 / std::sqrt(C[j]);
  return factors;
}

FactorValues RunningMeans::moment(const MatrixShape& shape, double floor) const {
  FactorValues factors = row_factors(*this, shape, floor,
                                     [](double r, double mean) { return mean > 0 ? r / mean : 0; });
  std::copy(C, C + factors.c.size(), factors.c.begin());
  return factors;
}

std::vector<Slot> factored_slots(const std::string& name, const Shape& parameter,
                                 const char* row_letter, const char* column_letter) {
  if (parameter.rank() < 2) return {{name, column_letter, Sign::nonnegative, parameter}};
  std::vector<i64> rows(parameter.begin(), parameter.end() - 1), columns = rows;
  columns.back() = parameter[-1];
  return {{name + "_row", row_letter, Sign::nonnegative, Shape(std::span<const i64>(rows))},
          {name + "_col", column_letter, Sign::nonnegative, Shape(std::span<const i64>(columns))}};
}

RunningMeans running_means(const StepView& view, const std::string& name) {
  if (view.shape.rank() < 2) return {nullptr, view.floats(name)};
  return {view.floats(name + "_row"), view.floats(name + "_col")};
}

}  // namespace minima
