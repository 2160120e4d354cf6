/// Factored moments: means over rows and columns in place of every element (Shazeer, Stern 2018,
/// arXiv:1804.04235, Section 3). R [batch·rows] holds the mean of each row, C [batch·columns] that
/// of each column, and R Cᵀ/mean(R) is the matrix of rank one that has them: for nonnegative numbers
/// the nearest in generalized Kullback–Leibler divergence. A vector is one row: C holds all of it,
/// and R is absent.
#pragma once

#include "optim/engine/matrix_pass.hpp"

namespace minima {

/// The running means of matrix k of a parameter, in the memory of their slots; R null for a vector.
struct RunningMeans {
  float *R, *C;
  MatrixShape shape;
  i64 k = 0;

  MINIMA_HD float* row_means() const { return R + k * shape.rows; }
  MINIMA_HD float* column_means() const { return C + k * shape.columns; }
  template <class Team>
  MINIMA_HD double mean_of_rows(const Team& team) const {
    return ops::row_sum(team, shape.rows, [R = row_means()](i64 i) MINIMA_INLINE { return R[i]; }) /
           static_cast<double>(shape.rows);
  }

  /// β mean + (1 − β) sum/count
  MINIMA_HD static float averaged(float mean, double sum, i64 count, double beta) {
    return static_cast<float>(beta * static_cast<double>(mean) +
                              (1 - beta) * (sum / static_cast<double>(count)));
  }
  /// R ← β R + (1 − β) row means;  C ← β C + (1 − β) column means. From the last pass's sums.
  template <class Team>
  MINIMA_HD void update(const Team& team, const Workspace& sums, double beta) const {
    const auto move = [&](float* means, const double* from, i64 n, i64 count) MINIMA_INLINE {
      team.each(n,
                [=](i64 i) MINIMA_INLINE { means[i] = averaged(means[i], from[i], count, beta); });
    };
    if (R) move(row_means(), sums.rows + k * shape.rows, shape.rows, shape.columns);
    move(column_means(), sums.columns + k * shape.columns, shape.columns, R ? shape.rows : 1);
  }

  /// The factors `which`: r = √(mean(R)/R), c = √(1/C), whose product divides by the root of the moment. Returns mean(R),
  /// of a vector 1.
  template <class Team>
  MINIMA_HD double inverse_roots(const Team& team, const Factors& to, std::size_t which) const {
    return factors(
        team, to, which,
        [](double mean, float R) MINIMA_INLINE { return sqrt(mean / static_cast<double>(R)); },
        [](float C) MINIMA_INLINE { return 1 / sqrt(C); });
  }

  /// r = R/max(mean(R), floor), c = C: the moment itself.
  template <class Team>
  MINIMA_HD void moment(const Team& team, double floor, const Factors& to) const {
    factors(
        team, to, 0,
        [floor](double mean, float R) MINIMA_INLINE {
          const double of = larger(mean, floor);
          return of == 0 ? 0.0 : static_cast<double>(R) / of;  // NaN stays, as in torch
        },
        [](float C) MINIMA_INLINE { return C; });
  }

 private:
  /// r = of_row(mean(R), R), of a vector 1, and c = of_column(C). Returns mean(R), of a vector 1.
  template <class Team, class OfRow, class OfColumn>
  MINIMA_HD double factors(const Team& team, const Factors& to, std::size_t which,
                           const OfRow& of_row, const OfColumn& of_column) const {
    float *const r = to.r[which] + k * shape.rows, *const c = to.c[which] + k * shape.columns;
    team.each(shape.columns,
              [=, C = column_means()](i64 j) MINIMA_INLINE { c[j] = of_column(C[j]); });
    if (!R) {
      if (team.leads()) *r = 1;
      return 1;
    }
    const double mean = mean_of_rows(team);
    team.each(shape.rows, [=, R = row_means()](i64 i)
                              MINIMA_INLINE { r[i] = static_cast<float>(of_row(mean, R[i])); });
    return mean;
  }
};

/// Those of matrix k, whose slots are view.means[first] and, but for a vector, the one after it.
MINIMA_HD RunningMeans running_means(const StepView& view, std::size_t first, i64 k = 0) {
  if (view.matrix.vector) return {nullptr, view.means[first], view.matrix, k};
  return {view.means[first], view.means[first + 1], view.matrix, k};
}

/// How a formula writes them: R ← keep R + take mean of `square` over a row, and the factor that it makes of R.
struct MeanLetters {
  const char *row, *column, *keep, *take, *square, *of_row;
};
/// Tells a probe of those of its element, and what they were made from: the last pass's sums.
void note_means(const StepView& view, const RunningMeans& means, const MeanLetters& letters);

/// The slots of running means, `<name>_row` and `<name>_col`; of a vector's whole moment, `name`.
std::vector<Slot> factored_slots(const std::string& name, const Shape& parameter,
                                 const char* row_letter, const char* column_letter);

/// Calls f(R C/mean(R)) for each element, in order.
void for_moment(float* R, float* C, const MatrixShape& shape, const std::function<void(double)>& f);

/// RMS(x) from the sum of x² over a parameter.
MINIMA_HD double root_mean_square(double squares, const StepView& view) {
  return sqrt(squares / static_cast<double>(view.matrix.size()));
}

/// max(1, RMS(u)/threshold), by which an update is divided. Where RMS(u) is NaN it is NaN, so that no part of a broken
/// update moves a weight unclipped.
MINIMA_HD double clip_divisor(double rms, double threshold) { return larger(rms / threshold, 1.0); }
/// `divisor` is clip_divisor, or what a rule makes of it.
void note_clip(const StepView& view, double rms, double divisor);

/// A pass: g² + ε₁ by rows and columns, and p² in all.
struct Squares {
  float eps1;
  MINIMA_HD static Squares prepare(double eps1, const StepView&) { return {to_float(eps1)}; }
  MINIMA_HD Terms operator()(const MatrixRow&, i64, float g, float p) const {
    return {g * g + eps1, p * p};
  }
};

// What Adafactor and CAME share: a pass, what is made of its sums, and the update.

/// A pass: Squares, and by columns g²/R with its row's new R; of a vector g².
template <class Rule>
struct SquaresOverRows {
  Squares squares;
  double beta2;
  MINIMA_HD static SquaresOverRows prepare(const typename Rule::Options& o, const StepView& x) {
    return {Squares::prepare(o.eps1, x), Rule::beta2(o, x)};
  }
  MINIMA_HD Terms operator()(const MatrixRow& row, i64 j, float g, float p) const {
    return squares(row, j, g, p);
  }
  MINIMA_HD float weight(const StepView& x, i64 i, double sum) const {
    const RunningMeans means = running_means(x, 0);
    return means.R ? 1 / sqrt(RunningMeans::averaged(means.R[i], sum, x.matrix.columns, beta2)) : 1;
  }
  MINIMA_HD float weighted(float weight, float g) const {
    const float u = weight * g;
    return u * u;
  }
};

/// RMS(p) before the step, in its slot, which is the last of those that are means.
MINIMA_HD float& weight_rms(const StepView& view) { return *view.means[view.mean_count - 1]; }

/// After the pass SquaresOverRows: R, C and what divides by the root of their moment; RMS(p); and of each matrix the sum of
///     u² = g² mean(R)/(R C)
/// as mean(R) Σⱼ (Σᵢ g²/R)/C, without another read of g. An entry below 10⁻¹⁹ of its row's RMS is lost in it, though C may
/// make its u as large as others.
template <class Rule>
struct FactoredMoment {
  typename Rule::Options o;
  template <class Team>
  MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
    const RunningMeans means = running_means(x, 0, matrix);
    means.update(team, x.workspace, Rule::beta2(o, x));
    const double mean = means.inverse_roots(team, x.workspace.factors, 0);
    const double squares = ops::row_sum(
        team, x.matrix.columns,
        [C = means.column_means(), from = x.workspace.weighted + matrix * x.matrix.columns](i64 j)
            MINIMA_INLINE { return from[j] / static_cast<double>(C[j]); });
    if (team.leads()) x.workspace.of_matrices[matrix] = mean * squares;
    if (matrix == 0 && team.leads())
      weight_rms(x) = to_float(root_mean_square(x.workspace.numbers[0], x));
  }
};

/// u = g · √(mean(R)/R) · √(1/C), before it is clipped: Adafactor's and CAME's.
struct FactoredUpdate {
  /// RMS(u) and what divides u, after FactoredMoment.
  MINIMA_HD static double rms(const StepView& view) {
    double squares = 0;
    for (i64 k = 0; k < view.matrix.batch; ++k) squares += view.workspace.of_matrices[k];
    return root_mean_square(squares, view);
  }
  template <class O>
  MINIMA_HD static double clip(const O& o, const StepView& view) {
    return clip_divisor(rms(view), o.clip_threshold);
  }

  template <class T>
  MINIMA_HD T operator()(const MatrixRow& row, i64 j, T g) const {
    return named("u", T(T(row.c[0][j]) * g * row.r[0]));
  }
  template <class F>
  void constants(const F& f, const MatrixRow& row, i64 j) {
    f("√(mean(R)/R)", row.r[0]), f("√(1/C)", row.c[0][j]);
  }
};

}  // namespace minima
