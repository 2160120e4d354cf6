/// Passes over one parameter for rules that keep means of rows and columns in place of every element
/// (Adafactor, CAME).
///
///     MatrixSums sums = matrix_pass(view, Squares{eps1});    // sums over rows, columns, everything
///     double total = total_pass(view, SquareOf{update});     // one sum over everything
///     apply_pass(view, Move{factors, step}, std::array{m});  // changes the value and dense slots
///
/// What is summed is a named type with `row(i)`, which gives a functor of the column j, the gradient
/// g (scaled), the weight p and the values of the dense slots that were asked for. Its result tells
/// which sums are wanted: a Term goes to its row and column, a Total to the sum of all, Terms to each.
/// What is done is a formula (optim/loop.hpp). A pass reads the gradient once and makes no temporary
/// of the tensor's size. Sums are formed in chunks of 32 rows, and the chunks' sums are added in
/// their order: the bits do not depend on the number of threads.
#pragma once

#include <functional>
#include <vector>

#include "core/ops/row.hpp"
#include "optim/loop.hpp"

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

/// What one element adds.
struct Total {
  float total;
};
struct Term {
  float matrix;
};
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

inline i64 chunks_per_matrix(const MatrixShape& shape) {
  return (shape.rows + kChunkRows - 1) / kChunkRows;
}

struct PieceSums {
  double row = 0, total = 0;
};

/// Adds to `columns`, from the piece's first on, where the pass has such sums.
template <class Pass, std::size_t... K>
PieceSums sum_piece(const Pass& pass, const Piece& piece, float* columns,
                    std::index_sequence<K...>) {
  PieceSums sums;
  vectorize([&]() MINIMA_INLINE {
    const auto row = pass.row(piece.i);
    const Piece x = piece;  // a copy, which no store can change
    float rows[ops::kLanes] = {}, totals[ops::kLanes] = {};
    const auto add = [&](i64 k, i64 lane) MINIMA_INLINE {
      const auto term = row(x.j + k, x.gradient(k), x.p[k], x.s[K][k]...);
      if constexpr (requires { term.matrix; }) {
        columns[k] += term.matrix;
        rows[lane] += term.matrix;
      }
      if constexpr (requires { term.total; }) totals[lane] += term.total;
    };
    // All sums in one loop, so that gradient, weights and slots are read side by side.
    i64 k = 0;
    for (; k + ops::kLanes <= x.n; k += ops::kLanes)
#pragma omp simd
      for (i64 lane = 0; lane < ops::kLanes; ++lane) add(k + lane, lane);
    for (i64 lane = 0; k + lane < x.n; ++lane) add(k + lane, lane);
    const auto sum = [](const float* lanes) MINIMA_INLINE {
      return static_cast<double>(ops::row_sum_as<float>(
          ops::kLanes, [lanes](i64 lane) MINIMA_INLINE { return lanes[lane]; }));
    };
    sums = {sum(rows), sum(totals)};
  });
  return sums;
}

using SumPiece = PieceSums (*)(const void* pass, const Piece& piece, float* columns);

template <class Pass, std::size_t K>
PieceSums sum_any(const void* pass, const Piece& piece, float* columns) {
  return sum_piece(*static_cast<const Pass*>(pass), piece, columns, std::make_index_sequence<K>());
}

MatrixSums matrix_sums(const StepView& view, std::span<const SlotView> slots, const void* pass,
                       SumPiece sum, bool rows_and_columns);

}  // namespace detail

template <class Pass, std::size_t K = 0>
MatrixSums matrix_pass(const StepView& view, const Pass& pass,
                       const std::array<SlotView, K>& slots = {}) {
  return detail::matrix_sums(view, slots, &pass, detail::sum_any<Pass, K>, true);
}

/// The sum over everything alone: of Totals.
template <class Pass>
double total_pass(const StepView& view, const Pass& pass) {
  return detail::matrix_sums(view, {}, &pass, detail::sum_any<Pass, 0>, false).total;
}

/// Calls f(chunk, first row, row after the last) for every chunk of 32 rows, counted over the batch, on
/// all threads.
void for_row_chunks(const MatrixShape& shape, const std::function<void(i64, i64, i64)>& f);

/// Changes the value and the given dense slots by a formula.
template <class Formula, std::size_t K>
void apply_pass(const StepView& view, const Formula& formula,
                const std::array<SlotView, K>& slots) {
  const FormulaStep step{&view, slots, MatrixShape(view.shape).columns, any_formula<K>(formula)};
  run({&step, 1});
}

}  // namespace minima
