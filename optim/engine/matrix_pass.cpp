#include "optim/engine/matrix_pass.hpp"

#include <numeric>

#include "core/cpu/threads.hpp"
#include "core/tensor.hpp"

namespace minima {
namespace {

constexpr i64 kChunkRows = PassesOnCpu::kChunkRows;

i64 chunks_per_matrix(const MatrixShape& shape) {
  return (shape.rows + kChunkRows - 1) / kChunkRows;
}

/// Calls f(chunk, first row, row after the last) for every chunk of kChunkRows rows, counted over the batch, on
/// all threads.
template <class F>
void for_row_chunks(const MatrixShape& shape, const F& f) {
  const i64 per_matrix = chunks_per_matrix(shape), rows = kChunkRows;
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

void detail::matrix_sums(const StepView& view, const PieceSum& sum) {
  const MatrixShape& shape = view.matrix;
  const Workspace& to = view.workspace;
  const i64 width = shape.columns, per_matrix = chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  Tensor partial, weighted;  // of each chunk
  if (sum.matrix) {
    std::fill_n(to.rows, shape.batch * shape.rows, 0.0);
    partial = Tensor::empty({chunks, width});
  }
  if (sum.twice) weighted = Tensor::empty({chunks, width});
  for_row_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    const auto zeros_of = [&](Tensor& sums) -> float* {
      if (!sums.defined()) return nullptr;
      float* const own = sums.data<float>() + chunk * width;
      std::fill_n(own, width, 0.0f);
      return own;
    };
    float *const columns = zeros_of(partial), *const again = zeros_of(weighted);
    double& of_chunk = totals[static_cast<std::size_t>(chunk)];
    if (again)
      return for_rows(view, first, last, kTwiceTogether, [&](const Rows& rows) {
        of_chunk += sum.twice(rows, to.rows + rows.first, columns, again);
      });
    for_pieces(view, sum.slots, width, first * width, last * width, Access::read,
               [&](const Piece& piece) {
                 const PieceSums each = sum.pieces(piece, columns ? columns + piece.j : nullptr);
                 if (columns) to.rows[piece.i] += each.row;
                 of_chunk += each.total;
               });
  });
  if (sum.total) to.numbers[0] = std::accumulate(totals.begin(), totals.end(), 0.0);
  const auto add_chunks = [&](const Tensor& sums, double* columns) {
    std::fill_n(columns, shape.batch * width, 0.0);
    vectorize_parallel(
        width,
        [=, from = sums.data<float>()](i64 begin, i64 end) MINIMA_INLINE {
          for (i64 chunk = 0; chunk < chunks; ++chunk) {
            double* const to = columns + chunk / per_matrix * width;
            for (i64 j = begin; j < end; ++j) to[j] += static_cast<double>(from[chunk * width + j]);
          }
        },
        256);
  };
  if (sum.matrix) add_chunks(partial, to.columns);
  if (sum.twice) add_chunks(weighted, to.weighted);
}

}  // namespace minima
