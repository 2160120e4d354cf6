/// Factored moments: means over rows and columns in place of every element (Shazeer, Stern 2018,
/// arXiv:1804.04235, Section 3). R [batch·rows] holds the mean of each row, C [batch·columns] that
/// of each column, and R Cᵀ/mean(R) is the matrix of rank one that has them: for nonnegative numbers
/// the nearest in generalized Kullback–Leibler divergence. A vector is one row: C holds all of it,
/// and R is absent.
#pragma once

#include "optim/matrix_pass.hpp"

namespace minima {

/// A factor for each row and each column, as the functors of a pass see them.
struct Factors {
  const float *r, *c;
  i64 rows, columns;
  MINIMA_HD const float* column(i64 i) const { return c + i / rows * columns; }
};

/// Memory for Factors.
struct FactorValues {
  FactorValues(const MatrixShape& shape)
      : r(static_cast<std::size_t>(shape.batch * shape.rows), 1.0f),
        c(static_cast<std::size_t>(shape.batch * shape.columns)),
        shape(shape) {}
  Factors view() const { return {r.data(), c.data(), shape.rows, shape.columns}; }
  /// Calls f(r · c) for each element, in order.
  template <class F>
  void for_products(const F& f) const {
    for (i64 i = 0; i < shape.batch * shape.rows; ++i)
      for (i64 j = 0; j < shape.columns; ++j)
        f(static_cast<double>(view().r[i]) * static_cast<double>(view().column(i)[j]));
  }
  std::vector<float> r, c;
  MatrixShape shape;
};

/// The running means, in the memory of their slots; R null for a vector.
struct RunningMeans {
  float *R, *C;

  /// R ← β R + (1 − β) row means;  C ← β C + (1 − β) column means. Tells a probe of those of its
  /// element.
  void update(const StepView& view, const MatrixSums& sums, double beta, const char* row_letter,
              const char* column_letter) const;
  /// r = √(mean(R)/R), c = √(1/C): what divides by the root of the moment.
  FactorValues inverse_roots(const MatrixShape& shape) const;
  /// r = R/max(mean(R), floor), c = C: the moment itself.
  FactorValues moment(const MatrixShape& shape, double floor) const;
};

/// The slots of running means, `<name>_row` and `<name>_col`; of a vector's whole moment, `name`.
std::vector<Slot> factored_slots(const std::string& name, const Shape& parameter,
                                 const char* row_letter, const char* column_letter);
RunningMeans running_means(const StepView& view, const std::string& name);

/// A pass: g² + ε₁ by rows and columns, and p² in all.
struct Squares {
  float eps1;
  MINIMA_HD Squares row(i64) const { return *this; }
  MINIMA_HD Terms operator()(i64, float g, float p) const { return {g * g + eps1, p * p}; }
};

/// A pass: the square of Update's u in all. `Update` has row(i), which gives u by (j, g).
template <class Update>
struct SquareOf {
  Update update;
  struct Row {
    decltype(std::declval<Update>().row(0)) update;
    MINIMA_HD Total operator()(i64 j, float g, float) const {
      const float u = update(j, g);
      return {u * u};
    }
  };
  MINIMA_HD Row row(i64 i) const { return {update.row(i)}; }
};

/// u = g · √(mean(R)/R) · √(1/C), before it is clipped: Adafactor's and CAME's.
struct FactoredUpdate {
  Factors factors;
  struct Row {
    float r;
    const float* c;
    template <class T>
    MINIMA_HD T operator()(i64 j, T g) const {
      return named("u", T(T(c[j]) * g * r));
    }
    template <class F>
    void constants(const F& f) {
      f("√(mean(R)/R)", r);
    }
  };
  MINIMA_HD Row row(i64 i) const { return {factors.r[i], factors.column(i)}; }
};

/// RMS(x) from the sum of x² over a tensor.
inline double root_mean_square(double squares, const Shape& shape) {
  return std::sqrt(squares / static_cast<double>(shape.size()));
}

/// max(1, RMS(u)/threshold), by which an update is divided.
template <class Update>
double clip_divisor(const StepView& view, const Update& update, double threshold) {
  const double update_rms =
      root_mean_square(total_pass(view, SquareOf<Update>{update}), view.shape);
  const double clip = std::max(1.0, update_rms / threshold);
  view.note("RMS(u)", "over the whole tensor", update_rms);
  view.note("clip", "max(1, RMS(u)/d)", clip);
  return clip;
}

}  // namespace minima
