#include "optim/engine/matrix_pass.hpp"

#include <numeric>

#include "core/cpu/threads.hpp"
#include "core/tensor.hpp"

namespace minima {
namespace {

/// Rows of a chunk: so many that the chunks' sums are little beside them, so few that a large matrix has many chunks.
i64 chunk_rows(i64 columns) {
  return std::clamp<i64>((i64{1} << 20) / std::max<i64>(1, columns), 16, 128);
}

i64 chunks_per_matrix(const MatrixShape& shape) {
  return ceil_div(shape.rows, chunk_rows(shape.columns));
}

/// Calls f(chunk, first row, row after the last) for every chunk of rows, counted over the batch, on all threads.
template <class F>
void for_row_chunks(const MatrixShape& shape, const F& f) {
  const i64 per_matrix = chunks_per_matrix(shape), rows = chunk_rows(shape.columns);
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

i64 detail::chunk_sum_count(const MatrixShape& shape) {
  return shape.batch * chunks_per_matrix(shape) * shape.columns;
}

void detail::matrix_sums(const StepView& view, const Summands& summands) {
  const MatrixShape& shape = view.matrix;
  const Workspace& to = view.workspace;
  const i64 width = shape.columns, per_matrix = chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  const bool twice = summands.again != nullptr;
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  Tensor columns, weighted;  // of each chunk
  if (summands.matrix) {
    std::fill_n(to.rows, shape.batch * shape.rows, 0.0);
    columns = Tensor::empty({chunks, width});
  }
  if (twice) weighted = Tensor::empty({chunks, width});
  for_row_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    const auto zeros_of = [&](Tensor& sums) -> float* {
      if (!sums.defined()) return nullptr;
      float* const own = sums.data<float>() + chunk * width;
      std::fill_n(own, width, 0.0f);
      return own;
    };
    float *const down = zeros_of(columns), *const again = zeros_of(weighted);
    double& total = totals[static_cast<std::size_t>(chunk)];
    // Rows that are read again before they have left the nearest cache.
    const i64 together = twice ? std::max<i64>(1, kLongestStretch / width) : last - first;
    for (i64 row = first, end; row < last; row = end) {
      end = std::min(last, row + together);
      const auto visit = [&](std::size_t slots, const auto& f) {
        for_pieces(view, slots, width, row * width, end * width, Access::read, f);
      };
      visit(summands.slots, [&](const Piece& piece) {
        const PieceSums sums = summands.piece(piece, down ? down + piece.j : nullptr);
        if (down) {
          double& sum = to.rows[piece.i];
          sum = summands.largest ? ops::Larger{}(sum, sums.row) : sum + sums.row;
        }
        total += sums.total;
      });
      if (twice)
        visit(0, [&](const Piece& piece) {
          summands.again(piece, to.rows[piece.i], again + piece.j);
        });
    }
  });
  if (summands.total) to.numbers[0] = std::accumulate(totals.begin(), totals.end(), 0.0);
  const auto add_chunks = [&](const Tensor& of_chunks, double* sums, auto merge) {
    std::fill_n(sums, shape.batch * width, 0.0);
    vectorize_parallel(
        width,
        [=, from = of_chunks.data<float>()](i64 begin, i64 end) MINIMA_INLINE {
          for (i64 chunk = 0; chunk < chunks; ++chunk) {
            double* const of_matrix = sums + chunk / per_matrix * width;
            for (i64 j = begin; j < end; ++j)
              of_matrix[j] = merge(of_matrix[j], static_cast<double>(from[chunk * width + j]));
          }
        },
        256);
  };
  if (summands.largest)
    add_chunks(columns, to.columns, ops::Larger{});
  else if (summands.matrix)
    add_chunks(columns, to.columns, ops::Plus{});
  if (twice) add_chunks(weighted, to.weighted, ops::Plus{});
}

}  // namespace minima
