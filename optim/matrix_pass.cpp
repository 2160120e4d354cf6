#include "optim/matrix_pass.hpp"

#include "core/cpu/threads.hpp"
#include "core/tensor.hpp"

namespace minima {

void for_row_chunks(const MatrixShape& shape, const std::function<void(i64, i64, i64)>& f) {
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

MatrixSums detail::matrix_sums(const StepView& view, std::span<const SlotView> slots,
                               const void* pass, SumPiece sum, bool rows_and_columns) {
  const MatrixShape shape(view.shape);
  const i64 width = shape.columns, per_matrix = chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  MatrixSums sums;
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  Tensor partial;
  if (rows_and_columns) {
    sums.rows.resize(static_cast<std::size_t>(shape.batch * shape.rows));
    sums.columns.resize(static_cast<std::size_t>(shape.batch * width));
    partial = Tensor::zeros({chunks, width});
  }
  for_row_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    float* const columns = rows_and_columns ? partial.data<float>() + chunk * width : nullptr;
    double total = 0;
    for_pieces(view, slots, width, first * width, last * width, Access::read,
               [&](const Piece& piece) {
                 const PieceSums each = sum(pass, piece, columns ? columns + piece.j : nullptr);
                 if (columns) sums.rows[static_cast<std::size_t>(piece.i)] += each.row;
                 total += each.total;
               });
    totals[static_cast<std::size_t>(chunk)] = total;
  });
  for (double total : totals) sums.total += total;
  if (!rows_and_columns) return sums;
  double* const columns = sums.columns.data();
  const float* const from = partial.data<float>();
  vectorize_parallel(
      width,
      [=](i64 begin, i64 end) MINIMA_INLINE {
        for (i64 chunk = 0; chunk < chunks; ++chunk) {
          double* const to = columns + chunk / per_matrix * width;
          for (i64 j = begin; j < end; ++j) to[j] += static_cast<double>(from[chunk * width + j]);
        }
      },
      256);
  return sums;
}

}  // namespace minima
