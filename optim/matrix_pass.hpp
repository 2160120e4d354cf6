/// Passes over a parameter seen as matrices [batch, rows, columns]: the primitive of the rules that
/// keep means of rows and columns in place of every element (Adafactor, CAME).
///
///     MatrixSums sums = matrix_pass(view, Squares{eps1});         // sums over rows, columns, everything
///     double total = total_pass(view, UpdateSquares{factors});    // one sum over everything
///     apply_pass(view, Move{factors, step}, std::array{m});       // changes the value and dense slots
///
/// What is summed or done is a named type with `row(i)`, which gives a functor of the column j, the
/// gradient g (scaled), the weight p and the values of the dense slots that were asked for: pointers
/// that depend on the row are looked up once for it. The functor of an apply_pass is a template on
/// the scalar, so that a probe can trace it. A pass reads the gradient once and makes no temporary of the tensor's
/// size. Sums are formed in chunks of 32 rows, and the chunks' sums are added in their order: the
/// bits do not depend on the number of threads.
#pragma once

#include <vector>

#include "core/ops/row.hpp"
#include "core/tensor.hpp"
#include "optim/apply.hpp"

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

/// What one element adds: `matrix` to its row's and its column's sum, `total` to the sum of all. A
/// pass that wants no total gives a float.
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

/// A slot's values from anywhere in it; in block8 `open` takes a block at most.
MINIMA_HD const float* read(const SlotView& slot, i64 begin, i64 n, float* scratch) {
  if (slot.storage != Storage::block8) return open(slot, begin, n, scratch);
  for (i64 done = 0; done < n;) {
    const i64 at = begin + done, left = slot.block_size - at % slot.block_size;
    const i64 count = left < n - done ? left : n - done;
    open(slot, at, count, scratch + done);
    done += count;
  }
  return scratch;
}

/// A stretch of one row: weights, dense slots, and the scaled gradient by `g(j)`.
template <std::size_t K>
struct RowStretch {
  const float* p;
  ScaledStretch raw;
  std::array<const float*, K> slots;
  Guard guard;
  MINIMA_HD float g(i64 j) const {
    const float scaled = raw.scale * raw.values[j];
    return guard.passes(scaled) ? scaled : 0.0f;
  }
};

/// Calls f(i, j, n, stretch) for the stretches of the rows first … last-1 (counted over the batch).
template <class F, std::size_t... K>
MINIMA_HD void for_stretches(const StepView& view, const std::array<SlotView, sizeof...(K)>& slots,
                             i64 width, i64 first, i64 last, const F& f,
                             std::index_sequence<K...>) {
  constexpr i64 kStretch = 1024;
  alignas(64) float scratch[2 + sizeof...(K)][kStretch + 80];
  for (i64 i = first; i < last; ++i)
    for (i64 j = 0; j < width; j += kStretch) {
      const i64 n = std::min(kStretch, width - j), at = i * width + j;
      f(i, j, n,
        RowStretch<sizeof...(K)>{open(view.value, at, n, scratch[0]),
                                 open_gradient(view, at, n, scratch[1]),
                                 {read(slots[K], at, n, scratch[2 + K])...},
                                 Guard(view.guard)});
    }
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

/// Sums of `pass.row(i)(j, g, p, slot values…)` → Terms over rows, columns and everything; i counts
/// over the batch.
template <class Pass, std::size_t K = 0>
MatrixSums matrix_pass(const StepView& view, const Pass& pass,
                       const std::array<SlotView, K>& slots = {}) {
  const MatrixShape shape(view.shape);
  const i64 width = shape.columns, per_matrix = detail::chunks_per_matrix(shape);
  const i64 chunks = shape.batch * per_matrix;
  MatrixSums sums;
  sums.rows.resize(static_cast<std::size_t>(shape.batch * shape.rows));
  sums.columns.resize(static_cast<std::size_t>(shape.batch * width));
  Tensor partial = Tensor::zeros({chunks, width});
  std::vector<double> totals(static_cast<std::size_t>(chunks));
  double* const rows = sums.rows.data();
  detail::for_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    float* const columns = partial.data<float>() + chunk * width;
    vectorize([&]() MINIMA_INLINE {
      double total = 0;
      const auto add = [&](i64 i, i64 at, i64 n, const detail::RowStretch<K>& x) MINIMA_INLINE {
        const auto row = pass.row(i);
        float* const column = columns + at;
        const auto terms = [&](i64 j) MINIMA_INLINE {
          return [&]<std::size_t... S>(std::index_sequence<S...>) MINIMA_INLINE {
            return row(at + j, x.g(j), x.p[j], x.slots[S][j]...);
          }
          (std::make_index_sequence<K>());
        };
        const auto sum = [n](const auto& term) MINIMA_INLINE {
          return static_cast<double>(ops::row_fold(n, 0.0f, ops::Plus{}, term));
        };
        constexpr bool with_total = std::is_same_v<decltype(terms(0)), Terms>;
        rows[i] += sum([&](i64 j) MINIMA_INLINE {
          float term;
          if constexpr (with_total)
            term = terms(j).matrix;
          else
            term = terms(j);
          column[j] += term;
          return term;
        });
        if constexpr (with_total) total += sum([&](i64 j) MINIMA_INLINE { return terms(j).total; });
      };
      detail::for_stretches(view, slots, width, first, last, add, std::make_index_sequence<K>());
      totals[static_cast<std::size_t>(chunk)] = total;
    });
  });
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
  for (double total : totals) sums.total += total;
  return sums;
}

/// The sum of `pass.row(i)(j, g, p)`, a float, over everything.
template <class Pass>
double total_pass(const StepView& view, const Pass& pass) {
  const MatrixShape shape(view.shape);
  std::vector<double> totals(
      static_cast<std::size_t>(shape.batch * detail::chunks_per_matrix(shape)));
  detail::for_chunks(shape, [&](i64 chunk, i64 first, i64 last) {
    double& total = totals[static_cast<std::size_t>(chunk)];
    vectorize([&]() MINIMA_INLINE {
      double sum = 0;
      const auto add = [&](i64 i, i64 at, i64 n, const detail::RowStretch<0>& x) MINIMA_INLINE {
        const auto row = pass.row(i);
        sum += static_cast<double>(ops::row_fold(n, 0.0f, ops::Plus{}, [&](i64 j) MINIMA_INLINE {
          return row(at + j, x.g(j), x.p[j]);
        }));
      };
      detail::for_stretches(view, {}, shape.columns, first, last, add,
                            std::make_index_sequence<0>());
      total = sum;
    });
  });
  double sum = 0;
  for (double total : totals) sum += total;
  return sum;
}

/// Changes the value and the given dense slots by `pass.row(i)(j, p, g, slot values…)`.
template <class Pass, std::size_t K>
void apply_pass(const StepView& view, const Pass& pass, const std::array<SlotView, K>& slots) {
  const i64 width = MatrixShape(view.shape).columns;
  const auto index = std::make_index_sequence<K>();
  trace_element(view, slots, width, pass, index);
  const std::vector<Stretch> tasks = moved_stretches(view, slots);
  parallel_for(static_cast<i64>(tasks.size()), [&](i64 i) {
    const auto [begin, end] = tasks[static_cast<std::size_t>(i)];
    update(view, slots, width, begin, end, pass, index);
  });
}

}  // namespace minima
