/// Passes over a parameter seen as matrices [batch, rows, columns]: the primitive of the rules that
/// keep means of rows and columns in place of every element (Adafactor, CAME).
///
///     MatrixSums sums = matrix_pass(view, Squares{eps1});      // sums over rows, columns,
///     everything double total = total_pass(view, UpdateSquares{r, c});    // one sum over
///     everything apply_pass(view, Move{r, c, step}, std::array{m});         // changes the value
///     and dense slots
///
/// What is summed or done is a named type with `row(i)`, which gives a functor of the column j, the
/// gradient g (scaled), the weight p and what else is asked for: pointers that depend on the row
/// are looked up once for it. A pass reads the gradient once and makes no temporary of the tensor's
/// size. Sums are formed in chunks of 32 rows, and the chunks' sums are added in their order: the
/// bits do not depend on the number of threads.
#pragma once

#include <vector>

#include "core/ops/row.hpp"
#include "core/tensor.hpp"
#include "optim/rule.hpp"
#include "optim/view.hpp"

namespace minima {

/// The last two dimensions are a matrix, the leading ones a batch; a vector is one row.
struct MatrixShape {
  explicit MatrixShape(const Shape& shape) {
    if (shape.rank() >= 1) columns = shape[-1];
    if (shape.rank() >= 2) rows = shape[-2];
    for (int i = 0; i + 2 < shape.rank(); ++i) batch *= shape[i];
  }
  i64 batch = 1, rows = 1, columns = 1;
};

/// What one element adds: `matrix` to its row's and its column's sum, `total` to the sum of all.
struct Terms {
  float matrix, total;
};

struct MatrixSums {
  std::vector<double> rows;     ///< [batch · rows]
  std::vector<double> columns;  ///< [batch · columns]
  double total = 0;
};

namespace detail {

inline constexpr i64 kChunkRows = 32;

struct Plus {
  MINIMA_HD float operator()(float a, float b) const { return a + b; }
};

/// One chunk: rows first … last-1 (counted over the whole batch). `columns` [columns] and `rows`
/// (of all rows) may be null.
template <class Pass>
double pass_chunk(const StepView& view, i64 width, i64 first, i64 last, const Pass& pass,
                  float* columns, double* rows) {
  double total = 0;
  vectorize([&]() MINIMA_INLINE {
    constexpr i64 kStretch = 1024;
    alignas(64) float scratch[4][kStretch + 80];
    float* const matrix_term = scratch[2];
    float* const total_term = scratch[3];
    const float scale = view.gradient_scale;
    const Guard guard(view.guard);
    if (columns)
      for (i64 j = 0; j < width; ++j) columns[j] = 0;
    for (i64 i = first; i < last; ++i) {
      const auto row = pass.row(i);
      double row_sum = 0;
      for (i64 at = 0; at < width; at += kStretch) {
        const i64 n = std::min(kStretch, width - at);
        const float* p = open(view.value, i * width + at, n, scratch[0]);
        const float* g = open(view.gradient, i * width + at, n, scratch[1]);
#pragma GCC ivdep
        for (i64 j = 0; j < n; ++j) {
          const float scaled = scale * g[j];
          const Terms terms = row(at + j, guard.passes(scaled) ? scaled : 0.0f, p[j]);
          matrix_term[j] = terms.matrix;
          total_term[j] = terms.total;
        }
        total += ops::row_fold(n, 0.0f, Plus{},
                               [total_term](i64 j) MINIMA_INLINE { return total_term[j]; });
        if (rows)
          row_sum += ops::row_fold(n, 0.0f, Plus{},
                                   [matrix_term](i64 j) MINIMA_INLINE { return matrix_term[j]; });
        if (columns) {
          float* column = columns + at;
#pragma GCC ivdep
          for (i64 j = 0; j < n; ++j) column[j] += matrix_term[j];
        }
      }
      if (rows) rows[i] = row_sum;
    }
  });
  return total;
}

inline i64 chunks_per_matrix(const MatrixShape& shape) {
  return (shape.rows + kChunkRows - 1) / kChunkRows;
}

/// Calls f(chunk, first row, row after the last) for every chunk, small ones together in one task.
template <class F>
void for_chunks(const MatrixShape& shape, const F& f) {
  const i64 per_matrix = chunks_per_matrix(shape);
  const i64 together =
      std::max<i64>(1, 16384 / std::max<i64>(1, std::min(shape.rows, kChunkRows) * shape.columns));
  parallel_chunks(shape.batch * per_matrix, together, [&](i64 begin, i64 end) {
    for (i64 chunk = begin; chunk < end; ++chunk) {
      const i64 matrix = chunk / per_matrix, first = chunk % per_matrix * kChunkRows;
      f(chunk, matrix * shape.rows + first,
        matrix * shape.rows + std::min(shape.rows, first + kChunkRows));
    }
  });
}

}  // namespace detail

/// Sums of `pass.row(i)(j, g, p)` → Terms over rows, columns and everything; i counts over the
/// batch.
template <class Pass>
MatrixSums matrix_pass(const StepView& view, const Pass& pass) {
  const MatrixShape shape(view.shape);
  const i64 per_matrix = detail::chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  MatrixSums sums;
  sums.rows.resize(static_cast<std::size_t>(shape.batch * shape.rows));
  sums.columns.resize(static_cast<std::size_t>(shape.batch * shape.columns));
  Tensor partial = Tensor::empty({chunks, shape.columns});
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  float* const partial_columns = partial.data<float>();
  detail::for_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    totals[static_cast<std::size_t>(chunk)] =
        detail::pass_chunk(view, shape.columns, first, last, pass,
                           partial_columns + chunk * shape.columns, sums.rows.data());
  });
  double* const columns = sums.columns.data();
  vectorize_parallel(
      shape.columns,
      [&](i64 begin, i64 end) MINIMA_INLINE {
        for (i64 chunk = 0; chunk < chunks; ++chunk) {
          const float* from = partial_columns + chunk * shape.columns;
          double* to = columns + chunk / per_matrix * shape.columns;
          for (i64 j = begin; j < end; ++j) to[j] += static_cast<double>(from[j]);
        }
      },
      256);
  for (double total : totals) sums.total += total;
  return sums;
}

/// The sum of `pass.row(i)(j, g, p)` → Terms{0, total} over everything.
template <class Pass>
double total_pass(const StepView& view, const Pass& pass) {
  const MatrixShape shape(view.shape);
  const i64 per_matrix = detail::chunks_per_matrix(shape);
  std::vector<double> totals(static_cast<std::size_t>(shape.batch * per_matrix));
  detail::for_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    totals[static_cast<std::size_t>(chunk)] =
        detail::pass_chunk(view, shape.columns, first, last, pass, nullptr, nullptr);
  });
  double sum = 0;
  for (double total : totals) sum += total;
  return sum;
}

/// Changes the value and the given dense slots by `pass.row(i)(j, p, g, slot values…)`.
template <class Pass, std::size_t K>
void apply_pass(const StepView& view, const Pass& pass, const std::array<SlotView, K>& slots) {
  const i64 width = MatrixShape(view.shape).columns;
  parallel_chunks(view.shape.size(), task_size(slots), [&](i64 begin, i64 end) {
    update(view, slots, width, begin, end, pass, std::make_index_sequence<K>());
  });
}

}  // namespace minima
