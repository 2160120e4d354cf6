#include "core/ops/blocked_product.hpp"

#include <atomic>
#include <cstring>
#include <vector>

#include "core/ops/product_block.hpp"
#include "core/ops/transpose.hpp"

namespace minima::ops {
namespace {

/// Rows of B whose products are added up in registers: a panel of them has 16 KB, with AVX-512 32, for the first cache. The same
/// on all processors, as bits depend on it.
constexpr i64 kDepth = 256;
/// Rows of A that meet a panel while it is there, and columns of their tile of C: 98 and 197 KB, for the second.
constexpr i64 kRowsAtOnce = 96, kColumnsAtOnce = 512;
/// Numbers of B that are packed at a time, 1 MB: for the second cache where it is large, else for the third.
constexpr i64 kPacked = 1 << 18;
/// Rows that are fetched early: each may lie on a page of its own, where the processor foresees nothing.
constexpr i64 kAhead = 8;
/// Multiply-adds that are worth a task.
constexpr double kWorthATask = 5e5;

/// The length of n's fewest parts of about `most`, all but the last alike and of whole units.
i64 even_part(i64 n, i64 most, i64 unit) { return round_up(ceil_div(n, ceil_div(n, most)), unit); }

struct Range {
  i64 begin, end;
  i64 size() const { return end - begin; }
};
/// Part i of [0, n), cut into `parts` of whole units.
Range part_of(i64 n, i64 unit, i64 parts, i64 i) {
  const i64 units = ceil_div(n, unit);
  return {i * units / parts * unit, std::min(n, (i + 1) * units / parts * unit)};
}

/// Memory of the calling thread, whole cache lines; it only grows.
float* scratch(std::vector<float>& own, i64 n) {
  constexpr auto line = static_cast<std::size_t>(kLine<float>);
  if (own.size() < static_cast<std::size_t>(n) + line)
    own.resize(static_cast<std::size_t>(n) + line);
  return own.data() + -reinterpret_cast<std::uintptr_t>(own.data()) / sizeof(float) % line;
}

/// A part of B as the blocks read it: panels of W columns, [rows, W].
template <i64 W>
struct PackedB {
  float* at;
  Range rows, columns;

  i64 panels() const { return ceil_div(columns.size(), W); }
  float* panel(i64 number) const { return at + number * rows.size() * W; }

  /// Fills a panel, with zeros where B has ended.
  void fill(const Factor<float>& b, i64 number) const noexcept {
    const i64 column = columns.begin + number * W, width = std::min(W, columns.end - column),
              depth = rows.size();
    float* const to = panel(number);
    if (width < W) std::fill_n(to, depth * W, 0.0f);
    vectorize([&]() MINIMA_INLINE {
      const float* const source = b.from(rows.begin, column);
      if (b.transpose == Transpose::yes)
        transpose(width, depth, source, b.stride, to, W);
      else if (width < W)
        for (i64 p = 0; p < depth; ++p) std::copy_n(source + p * b.stride, width, to + p * W);
      else
        for (i64 p = 0; p < depth; ++p) {
          if (p + kAhead < depth)
            for (i64 j = 0; j < W; j += kLine<float>)
              __builtin_prefetch(source + (p + kAhead) * b.stride + j);
          std::memcpy(to + p * W, source + p * b.stride, W * sizeof(float));
        }
    });
  }
};

/// Rows of A, at the columns that a part of B has as rows, R at a time. What is not transposed is read where it is.
template <i64 R>
class RowsOfA {
 public:
  RowsOfA(const Factor<float>& a, Range rows, Range columns)
      : transposed_(a.transpose == Transpose::yes),
        at_(a.from(rows.begin, columns.begin)),
        ld_(a.stride),
        step_(R * (transposed_ ? columns.size() : a.stride)) {
    if (transposed_) pack(rows.size(), columns.size());
  }

  /// f(how to see R rows that begin at an address, where the first R begin, the way from R rows to the next).
  template <class F>
  void visit(const F& f) const {
    if (transposed_)
      f([](const float* at) MINIMA_INLINE { return Strided<float>{at, 1, R}; }, at_, step_);
    else
      f(
          [ld = ld_](const float* at) MINIMA_INLINE {
            return Strided<float>{at, ld, 1};
          },
          at_, step_);
  }

 private:
  /// R columns of the stored matrix after R: [rows / R, depth, R]; a few of its rows at a time, for each of them lies on
  /// another page.
  void pack(i64 rows, i64 depth) {
    static thread_local std::vector<float> own;
    float* const packed = scratch(own, round_up(rows, R) * depth);
    vectorize([=, from = at_, ld = ld_]() MINIMA_INLINE {
      for (i64 top = 0; top < depth; top += kAhead) {
        const i64 bottom = std::min(depth, top + kAhead);
        for (i64 p = bottom; p < std::min(depth, bottom + kAhead); ++p)
          for (i64 i = 0; i < rows; i += kLine<float>) __builtin_prefetch(from + p * ld + i);
        float* to = packed + top * R;
        i64 i = 0;
        for (; i + R <= rows; i += R, to += R * depth)
          for (i64 p = top; p < bottom; ++p)
            std::memcpy(to + (p - top) * R, from + p * ld + i, R * sizeof(float));
        for (i64 p = top; p < bottom; ++p)
          for (i64 left = i; left < rows; ++left)
            to[(p - top) * R + left - i] = from[p * ld + left];
      }
    });
    at_ = packed;
  }

  bool transposed_;
  const float* at_;
  i64 ld_, step_;
};

/// `rows` rows and a block's columns of C ← base + alpha · A · one panel. See: how to see a block's rows of A.
template <class B, class See>
void multiply_by_panel(i64 rows, i64 depth, float alpha, const See& see, const float* a, i64 step,
                       const float* panel, Base<float> base, float* c, i64 ldc) {
  vectorize([=]() MINIMA_INLINE {
    for (i64 row = 0; row < rows; row += B::rows)
      product_rows<B::rows, B::columns>(
          std::min(B::rows, rows - row), depth, alpha, see(a + row / B::rows * step), panel,
          B::columns, {base.at ? base.at + row * base.ld : nullptr, base.ld}, c + row * ldc, ldc);
  });
}

/// C's rows and columns of `tile` ← base + alpha · rows · B's panels. The base begins where the tile does.
template <class B>
void multiply(const RowsOfA<B::rows>& rows, const PackedB<B::columns>& b, const Tile& tile,
              float alpha, Base<float> base, float* c, i64 ldc) {
  const i64 depth = b.rows.size();
  rows.visit([&](const auto& see, const float* a, i64 step) {
    for (i64 column = 0; column < tile.width; column += B::columns) {
      const float* const panel = b.panel((tile.column + column - b.columns.begin) / B::columns);
      const Base<float> from{base.at ? base.at + column : nullptr, base.ld};
      float* const to = c + tile.row * ldc + tile.column + column;
      const i64 width = tile.width - column;
      if (width >= B::columns) {
        multiply_by_panel<B>(tile.height, depth, alpha, see, a, step, panel, from, to, ldc);
        continue;
      }
      float whole[kRowsAtOnce * B::columns];
      multiply_by_panel<B>(tile.height, depth, alpha, see, a, step, panel, {}, whole, B::columns);
      for (i64 i = 0; i < tile.height; ++i)
        for (i64 j = 0; j < width; ++j) {
          const float sum = whole[i * B::columns + j];
          to[i * ldc + j] = from.at ? from.at[i * from.ld + j] + sum : sum;
        }
    }
  });
}

/// How C's part over the packed columns is cut: only time depends on it.
struct Cut {
  i64 packs, down, across;  ///< tasks that pack; tiles
  bool small;               ///< not worth a second thread

  template <i64 W>
  Cut(i64 m, i64 block_rows, const PackedB<W>& b) {
    const double work =
        static_cast<double>(m * b.columns.size()) * static_cast<double>(b.rows.size());
    const auto tasks = static_cast<i64>(std::clamp(work / kWorthATask, 1.0, 4.0 * threads()));
    small = tasks == 1;
    packs = std::min(tasks, b.panels());
    down = std::max(ceil_div(m, kRowsAtOnce), std::min(tasks, ceil_div(m, kRowsAtOnce / 2)));
    across = std::max(std::clamp(ceil_div(tasks, down), i64{1}, ceil_div(b.panels(), 4)),
                      ceil_div(b.columns.size(), kColumnsAtOnce));
    if (!small)
      down = std::min(round_up(down * across, threads()) / across, ceil_div(m, block_rows));
  }
};

}  // namespace

template <class Block>
void blocked_product_in(float alpha, const Factor<float>& a, const Factor<float>& b, float beta,
                        float* c, const float* row, const OnTile& behind) {
  const i64 m = a.rows, n = b.columns, k = a.columns;
  const i64 depth = even_part(k, kDepth, 8);
  const i64 width = even_part(n, kPacked / depth, Block::columns);
  static thread_local std::vector<float> own;
  float* const memory = scratch(own, depth * width);

  for (i64 left = 0; left < n; left += width) {
    for (i64 top = 0; top < k; top += depth) {
      const PackedB<Block::columns> packed{
          memory, {top, std::min(k, top + depth)}, {left, std::min(n, left + width)}};
      const Cut cut(m, Block::rows, packed);
      std::atomic<i64> unpacked = cut.packs;
      const auto run = [&](i64 task) {
        if (task < cut.packs) {
          const Range panels = part_of(packed.panels(), 1, cut.packs, task);
          for (i64 panel = panels.begin; panel < panels.end; ++panel) packed.fill(b, panel);
          if (--unpacked == 0) unpacked.notify_all();
          return;
        }
        task -= cut.packs;
        const Range rows = part_of(m, Block::rows, cut.down, task / cut.across),
                    columns = part_of(packed.columns.size(), Block::columns, cut.across,
                                      task % cut.across);
        const Tile tile{rows.begin, left + columns.begin, rows.size(), columns.size()};
        float* const first = c + tile.row * n + tile.column;
        Base<float> base{first, n};
        if (top == 0 && row)
          base = {row + tile.column, 0};
        else if (top == 0 && beta == 0)
          base = {};
        else if (top == 0 && beta != 1)
          for (i64 i = 0; i < tile.height; ++i)
            for (i64 j = 0; j < tile.width; ++j) first[i * n + j] *= beta;
        // Packing comes first and has no need of anybody, so whoever packs is at work.
        for (i64 left_over = unpacked; left_over > 0; left_over = unpacked)
          wait_for_change(unpacked, left_over);
        multiply<Block>(RowsOfA<Block::rows>(a, rows, packed.rows), packed, tile, alpha, base, c,
                        n);
        if (packed.rows.end == k && behind) behind(tile);
      };
      const i64 tasks = cut.packs + cut.down * cut.across;
      if (cut.small)
        for (i64 task = 0; task < tasks; ++task) run(task);
      else
        parallel_for(tasks, run);
    }
  }
}

template decltype(blocked_product) blocked_product_in<Avx2Block>;
template decltype(blocked_product) blocked_product_in<Avx512Block>;

void blocked_product(float alpha, const Factor<float>& a, const Factor<float>& b, float beta,
                     float* c, const float* row, const OnTile& behind) {
  // A few columns waste less of a narrow block.
  if (b.columns <= Avx2Block::columns)
    return blocked_product_in<Avx2Block>(alpha, a, b, beta, c, row, behind);
  with_block(
      [&](auto block) { blocked_product_in<decltype(block)>(alpha, a, b, beta, c, row, behind); });
}

}  // namespace minima::ops
