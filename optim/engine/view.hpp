/// What a step sees of one parameter: its value, gradient and slots as plain pointers into its device's
/// memory, so that a table of such views can be handed to a GPU.
#pragma once

#include <array>
#include <utility>

#include "core/parameter.hpp"
#include "core/search.hpp"
#include "core/shape.hpp"
#include "optim/engine/traced.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

/// The most slots of either kind, dense or of another shape, that a rule may keep for a parameter.
inline constexpr std::size_t kMaxSlots = 6;

/// The bits of the least magnitude that is not finite any more as a weight in this storage: what bf16 rounds to infinity may
/// still be finite in f32.
MINIMA_HD u32 weight_limit(Storage storage) {
  return storage == Storage::bf16 ? 0x7f7f8000u : 0x7f800000u;
}

/// A gradient: dense, or the rows `ids` (ascending) of a table whose other rows are zero; on a GPU the last
/// ids may be behind the table.
struct GradientView {
  SlotView values;  ///< fp32 or bf16
  const i64* ids = nullptr;
  i64 count = 0, width = 0;  ///< rows given, and values in each
};

/// The last two dimensions are a matrix, the leading ones a batch; a vector is one row.
struct MatrixShape {
  MatrixShape() = default;
  explicit MatrixShape(const Shape& shape) : vector(shape.rank() < 2) {
    if (shape.rank() >= 1) columns = shape[-1];
    if (shape.rank() >= 2) rows = shape[-2];
    for (int i = 0; i + 2 < shape.rank(); ++i) batch *= shape[i];
  }
  MINIMA_HD i64 size() const { return batch * rows * columns; }
  i64 batch = 1, rows = 1, columns = 1;
  bool vector = true;
};

/// One row of a parameter, its factors and those of its matrix's columns, of two moments.
struct MatrixRow {
  i64 begin;  ///< its first element among all
  std::array<float, 2> r;
  std::array<const float*, 2> c;
};

/// A factor for each row [batch·rows] and each column [batch·columns], of two moments.
struct Factors {
  std::array<float*, 2> r, c;
  i64 rows, columns;

  MINIMA_HD MatrixRow row(i64 i) const {
    // Nearly always the first matrix, and a GPU is slow at a division.
    const i64 first = i < rows ? 0 : i / rows * columns;
    return {i * columns, {r[0][i], r[1][i]}, {c[0] + first, c[1] + first}};
  }
};

/// What the passes of a matrix rule (optim/engine/matrix_pass.hpp) leave for one another.
struct Workspace {
  double *rows, *columns;  ///< sums of the last pass that had them: [batch·rows], [batch·columns]
  double* weighted;        ///< of the last pass that read each row twice: [batch·columns]
  double* numbers;      ///< [kNumbers]; the first is the sum of all of the last pass that had one
  double* of_matrices;  ///< [batch]: what stands between passes has made of each matrix
  Factors factors;

  static constexpr i64 kNumbers = 2;

  /// How many sums and factors there are for a parameter.
  static i64 sums_for(const MatrixShape& m) {
    return kNumbers + m.batch * (1 + m.rows + 2 * m.columns);
  }
  static i64 factors_for(const MatrixShape& m) { return 2 * m.batch * (m.rows + m.columns); }
  /// The workspace for a parameter, from the beginning of this memory, which then begins behind it.
  static Workspace take(const MatrixShape& m, double*& sums, float*& factors) {
    const auto next = [](auto*& from, i64 n) { return std::exchange(from, from + n); };
    const i64 r = m.batch * m.rows, c = m.batch * m.columns;
    Workspace result{next(sums, r),        next(sums, c),       next(sums, c),
                     next(sums, kNumbers), next(sums, m.batch), {{}, {}, m.rows, m.columns}};
    for (std::size_t k : {0, 1})
      result.factors.r[k] = next(factors, r), result.factors.c[k] = next(factors, c);
    return result;
  }
};

/// One parameter in one step.
struct StepView {
  Parameter* parameter = nullptr;  ///< the host's; kernels know only the pointers into its arrays
  Shape shape;
  MatrixShape matrix;
  SlotView value;  ///< fp32 or bf16
  GradientView gradient;
  /// In the rule's order: those with a value for each element, and those of another shape, in fp32.
  std::array<SlotView, kMaxSlots> slots;
  std::array<float*, kMaxSlots> means = {};
  std::array<i64, kMaxSlots> mean_sizes = {};
  std::size_t slot_count = 0, mean_count = 0;
  i32* step = nullptr;       ///< the steps made so far; null where the rule does not keep them
  i64 t = 0;                 ///< that of the step being made, from 1; 0 where it is not kept
  float clip_value = 0;      ///< the gradient's entries are cut to ± this; 0: they are not
  float gradient_scale = 1;  ///< multiplies the gradient: unscaling and clipping in one
  /// Where a gradient's entry or its square is not finite, its weight stays and its state becomes zero.
  bool guard = false;
  /// Only the rows of a gradient of rows are moved, as in torch.optim.SparseAdam.
  bool lazy_rows = false;
  bool skipped = false;  ///< on a GPU, which alone knows it: nothing is to change
  /// On the CPU, for each unit of elements: how many of the first slots are known to be zero there; null: nothing is
  /// known. Those are not read, and written only when they are zero no more, but for the scales of block8.
  u8* zero_slots = nullptr;
  /// On the CPU: becomes 1 where a weight that is moved is inf or NaN.
  unsigned* bad_weights = nullptr;
  Workspace workspace = {};
  Probe* probe = nullptr;  ///< null unless somebody looks on; the host's

  /// Values in a block of the first `count` slots, those of block8 all being of one size; 0: none is in block8.
  MINIMA_HD i64 block_size(std::size_t count) const {
    for (std::size_t k = 0; k < count; ++k)
      if (slots[k].storage == Storage::block8) return slots[k].block_size;
    return 0;
  }
  /// Elements in a unit of zero_slots: a block, or about a row of an embedding.
  i64 unit() const {
    const i64 block = block_size(slot_count);
    return block ? block : 256;
  }
  MINIMA_HD bool skips_rows() const { return lazy_rows && gradient.ids; }
  /// Whether the row of the table that element `at` lies in is changed.
  MINIMA_HD bool moves(i64 at) const {
    if (!skips_rows()) return true;
    const i64 row = at / gradient.width, k = count_below(gradient.ids, gradient.count, row);
    return k < gradient.count && gradient.ids[k] == row;
  }

  /// Tells a probe of a number that is one for the whole parameter, with its formula.
  void note(const std::string& letter, const std::string& formula, double value) const {
    if (probe) probe->notes.push_back({letter, formula, value});
  }
};

}  // namespace minima
