#include "optim/engine/matrix_pass.hpp"

#include <numeric>

#include "core/cpu/threads.hpp"
#include "core/tensor.hpp"

namespace minima {
namespace {

/// Calls f(chunk, first row, row after the last) for every chunk of 32 rows, counted over the batch, on
/// all threads.
template <class F>
void for_row_chunks(const MatrixShape& shape, const F& f) {
  const i64 per_matrix = detail::chunks_per_matrix(shape), rows = detail::kChunkRows;
  // Small chunks go together in one task.
  const i64 together =
      std::max<i64>(1, 16384 / std::max<i64>(1, std::min(shape.rows, rows) * shape.columns));
  parallel_chunks(shape.batch * per_matrix, together, [&](i64 begin, i64 end) {
    for (i64 chunk = begin; chunk < end; ++chunk) {
      const i64 matrix = chunk / per_matrix, first = chunk % per_matrix * rows;
      f(chunk, matrix * shape.rows + first,
        matrix * shape.rows + std::min(shape.rows, first + rows));
    }
  });
}

}  // namespace

PassesOnCpu::PassesOnCpu(const StepView& view)
    : view_(view),
      sums_(static_cast<std::size_t>(Workspace::sums_for(view.matrix))),
      factors_(static_cast<std::size_t>(Workspace::factors_for(view.matrix)), 1.0f) {
  double* sums = sums_.data();
  float* factors = factors_.data();
  view_.workspace = Workspace::take(view.matrix, sums, factors);
}

void PassesOnCpu::copy_gradient(float* to) const {
  const i64 width = view_.matrix.columns;
  for_row_chunks(view_.matrix, [&](i64, i64 first, i64 last) {
    for_pieces(view_, 0, width, first * width, last * width, Access::read, [&](const Piece& x) {
      float* const at = to + x.i * width + x.j;
      for (i64 k = 0; k < x.n; ++k) at[k] = x.gradient(k);
    });
  });
}

void detail::matrix_sums(const StepView& view, std::size_t slots, bool matrix, bool total,
                         const std::function<PieceSums(const Piece& piece, float* columns)>& sum) {
  const MatrixShape& shape = view.matrix;
  const Workspace& to = view.workspace;
  const i64 width = shape.columns, per_matrix = chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  Tensor partial;
  if (matrix) {
    std::fill_n(to.rows, shape.batch * shape.rows, 0.0);
    std::fill_n(to.columns, shape.batch * width, 0.0);
    partial = Tensor::zeros({chunks, width});
  }
  for_row_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    float* const columns = matrix ? partial.data<float>() + chunk * width : nullptr;
    double of_chunk = 0;
    for_pieces(view, slots, width, first * width, last * width, Access::read,
               [&](const Piece& piece) {
                 const PieceSums each = sum(piece, columns ? columns + piece.j : nullptr);
                 if (columns) to.rows[piece.i] += each.row;
                 of_chunk += each.total;
               });
    totals[static_cast<std::size_t>(chunk)] = of_chunk;
  });
  if (total) to.numbers[0] = std::accumulate(totals.begin(), totals.end(), 0.0);
  if (!matrix) return;
  double* const columns = to.columns;
  const float* const from = partial.data<float>();
  vectorize_parallel(
      width,
      [=](i64 begin, i64 end) MINIMA_INLINE {
        for (i64 chunk = 0; chunk < chunks; ++chunk) {
          double* const sums = columns + chunk / per_matrix * width;
          for (i64 j = begin; j < end; ++j) sums[j] += static_cast<double>(from[chunk * width + j]);
        }
      },
      256);
}

}  // namespace minima
