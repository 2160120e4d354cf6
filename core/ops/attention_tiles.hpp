/// Attention on a GPU goes in tiles: a block takes some rows of one text and head, a warp 16 of them, and goes along the
/// text's other rows, a tile of them at a time in shared memory. Scores and weights stay in registers. Included by
/// attention_forward.cu, where the rows are queries, the others keys, and attention_backward.cu, where it is also the other
/// way round.
///
/// Heads of 33 to 128 columns fit into tiles of 64 or 128; wider ones are taken part by part, 32 columns at a time, with the
/// scores formed anew for each part of the result. All sums are formed in a fixed order.
#pragma once

#include "core/cuda/async_copy.hpp"
#include "core/cuda/tile_product.hpp"
#include "core/math.hpp"
#include "core/ops/attention_heads.hpp"
#include "core/ops/convert.hpp"
#include "core/ops/matmul.hpp"

namespace minima::MINIMA_BACKEND::attention {

using namespace ops;

constexpr int kWarpRows = 16;  ///< of a tile product
constexpr int kMostWarps = 4;
constexpr int kNarrowest = 32;  ///< columns of a tile

/// Other rows in a tile: so many that the scores and the sums fit into registers.
template <class T, int D>
constexpr int kOthers = sizeof(T) * D < 256 ? 32 : 16;

/// Bytes of shared memory that every GPU gives a block which asks for them.
constexpr int kMostShared = 64 << 10;

/// What a block has in shared memory: its own rows of one matrix or two, and, twice, so that one can be filled while the
/// other is used, a tile of two matrices' other rows with what a gradient needs for each of them.
template <class T, int D>
struct Shared {
  using R = Widened<T>;
  static constexpr int kRow = kRowOf<T, D>, kRows = kOthers<T, D>;

  struct Tile {
    alignas(16) T first[kRows * kRow];
    alignas(16) T second[kRows * kRow];
    R log_sum[kRows], dots[kRows];
    u64 kept[kRows];
  };

  static constexpr int bytes(int warps, int matrices) {
    return 2 * sizeof(Tile) + sizeof(T) * kRow * kWarpRows * warps * matrices;
  }
  /// The most warps whose shared memory every GPU has for every block.
  static constexpr int most_warps(int matrices) {
    int warps = kMostWarps;
    while (bytes(warps, matrices) > kMostShared) warps /= 2;
    return warps;
  }
  /// The blocks that shall fit into the 65536 registers of a processor, of a gradient's kernel and of forward's: of more, some
  /// would spill.
  static constexpr int gradient_blocks() {
    return 65536 / (32 * most_warps(2) * (sizeof(T) == 8 || D > 64 ? 255 : 168));
  }
  static constexpr int forward_blocks() {
    return 65536 / (32 * most_warps(1) * (sizeof(T) == 8 ? 255 : D == 64 ? 128 : 168));
  }

  __device__ Shared() : tiles(MINIMA_DYNAMIC_SHARED(Tile)), own(reinterpret_cast<T*>(tiles + 2)) {}
  __device__ Tile& tile(int number) const { return tiles[number % 2]; }
  __device__ T* own_rows(int matrix) const {
    return own + matrix * static_cast<int>(blockDim.x) / 32 * kWarpRows * kRow;
  }

  Tile* tiles;
  T* own;
};

/// Into how many tiles of D columns a head is cut.
template <int D>
__device__ int parts_of(i64 head_dim) {
  return D == kNarrowest ? static_cast<int>(ceil_div(head_dim, D)) : 1;
}

/// One text and head, and where in it the block's rows begin.
template <class T>
struct Task {
  int query, key;  ///< the text's first rows
  int queries, keys, head, first;
  u64 example;

  /// `rows` of the `all` rows with these offsets are a block's. Text i has its blocks from offsets[i] / rows + i on: as many
  /// as it needs, or one more. So nobody has to count.
  __device__ Task(const AttentionHeads<T>& x, const i64* offsets, i64 all, int rows) {
    const i64 place = blockIdx.x / static_cast<unsigned>(x.heads);
    const auto place_of = [&](i64 text) { return within(offsets[text], all) / rows + text; };
    i64 text = -1;
    for (i64 begin = 0; begin < x.texts; begin += blockDim.x) {
      const i64 i = begin + threadIdx.x;
      text += __syncthreads_count(i < x.texts && place_of(i) <= place);
    }
    text = text < 0 ? 0 : text;
    first = static_cast<int>(within(place - place_of(text), all) * rows);
    head = static_cast<int>(blockIdx.x % static_cast<unsigned>(x.heads));
    query = static_cast<int>(within(x.query_offsets[text], x.query_rows));
    queries = static_cast<int>(within(x.query_offsets[text + 1], x.query_rows)) - query;
    key = static_cast<int>(within(x.key_offsets[text], x.key_rows));
    keys = static_cast<int>(within(x.key_offsets[text + 1], x.key_rows)) - key;
    example = static_cast<u64>(x.example_id[text]);
  }

  /// Of the numbers that there are for each head and query.
  __device__ i64 number(const AttentionHeads<T>& x, int i) const {
    return head * x.query_rows + query + i;
  }
};

/// The blocks that may be needed for so many rows.
template <class T>
i64 blocks_for(const AttentionHeads<T>& x, i64 all, int warps) {
  return x.texts == 0 ? 0 : x.heads * (all / (warps * kWarpRows) + x.texts);
}

/// So many warps that a text of average length fills them.
template <class T, int D>
int warps_for(const AttentionHeads<T>& x, i64 all, int matrices) {
  int warps = Shared<T, D>::most_warps(matrices);
  while (warps > 1 && all <= warps / 2 * kWarpRows * x.texts) warps /= 2;
  return warps;
}

/// A text's rows of a matrix, the columns of a head.
template <class T, int D>
struct HeadRows {
  const T* at;
  int stride, rows, columns;

  __device__ HeadRows(RowsAt<T> from, int first, int rows, i64 head, i64 head_dim)
      : at(from.row(first, head * head_dim)),
        stride(static_cast<int>(from.stride)),
        rows(rows),
        columns(static_cast<int>(head_dim)) {}

  /// Starts to fill a tile of `count` rows, D columns, with those from `first` on, of the head's columns those from D · part
  /// on; with zeros where there are none.
  __device__ void fetch(AsyncCopies& copies, T* tile, int count, int first, int part) const {
    constexpr int kWords = D / kPerWord<T>;
    static_assert(32 % kWords == 0);
    const int own = threadIdx.x % kWords * kPerWord<T>, step = blockDim.x / kWords;
    const int column = D * part + own;
    const bool word =
        column + kPerWord<T> <= columns && stride % kPerWord<T> == 0 && Word<T>::fits(at);
    for (int r = threadIdx.x / kWords; r < count; r += step) {
      const T* const from = at + static_cast<i64>(first + r) * stride + column;
      T* const to = tile + r * kRowOf<T, D> + own;
      const bool there = first + r < rows;
      if (word && there) {
        copies.start<kPerWord<T>>(to, from);
      } else {
        for (int k = 0; k < kPerWord<T>; ++k) to[k] = there && column + k < columns ? from[k] : T();
      }
    }
  }
};
/// Of q, dy or y; of k or v.
template <int D, class T>
__device__ HeadRows<T, D> queries_of(const AttentionHeads<T>& x, const Task<T>& task,
                                     RowsAt<T> from) {
  return {from, task.query, task.queries, task.head, x.head_dim};
}
template <int D, class T>
__device__ HeadRows<T, D> keys_of(const AttentionHeads<T>& x, const Task<T>& task, RowsAt<T> from) {
  return {from, task.key, task.keys, task.head, x.head_dim};
}

/// The powers by which scores become weights: of e, or, where the products are no more exact, of 2, which a GPU has an
/// instruction for. Scores, their maxima and the logarithms of sums are in `unit`s then.
template <class T, Operands kOperands>
struct Powers {
  using R = Widened<T>;
  static constexpr bool kOfTwo = Narrow<T> || kOperands == Operands::tf32;
  static constexpr R unit = kOfTwo ? 1.44269504f : 1;

  __device__ static R of(R x) {
    if constexpr (kOfTwo)
      return math::exp2(x);
    else
      return math::exp(x);
  }
  /// That of scale · score − offset.
  __device__ static R of(R score, R scale, R offset) { return of(std::fma(score, scale, -offset)); }
};

/// The values of the four lanes that share a row merged, for all of them.
template <class R, class Merge>
__device__ R row_fold(R value, const Merge& merge) {
  value = merge(value, across(value, 1));
  return merge(value, across(value, 2));
}

/// Rows of the warp, `left` of which there are: to ← factor[half] · sums.
template <class T, class R, int M>
__device__ void store(const R (&sums)[M][4], R upper, R lower, RowsAt<T> to, int row, int left,
                      i64 column, i64 columns) {
  using Pair = Pack<T, 2>;
  const bool pairs = columns >= 8 * M && Pair::fits(to.row(row, column)) && to.stride % 2 == 0;
  MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
    if (row_of(2 * half) >= left) continue;
    const R factor = half == 0 ? upper : lower;
    T* const at = to.row(row + row_of(2 * half), column) + column_of(0, 0);
    const auto number = [&](int m, int e) { return converted<T>(factor * sums[m][2 * half + e]); };
    if (pairs) {
      MINIMA_UNROLL for (int m = 0; m < M; ++m) Pair{number(m, 0), number(m, 1)}.store(at + 8 * m);
    } else {
      each_sum<M>([&](int m, int e) {
        if (e / 2 == half && column_of(m, e) < columns) at[8 * m + e % 2] = number(m, e % 2);
      });
    }
  }
}

/// step(i) for each of the steps, with what fetch(i) asks for there, for all threads of the block: while one is taken the
/// next is fetched, where a head is not in parts.
template <class Fetch, class Step>
__device__ void for_each_step(int parts, int steps, AsyncCopies& copies, const Fetch& fetch,
                              const Step& step) {
  if (parts == 1 && steps > 0) fetch(0);
  for (int i = 0; i < steps; ++i) {
    if (parts > 1) {
      __syncthreads();  // what lies there has been used
      fetch(i);
    }
    copies.wait();
    __syncthreads();
    if (parts == 1 && i + 1 < steps) fetch(i + 1);
    step(i);
  }
}

/// Calls f with the columns of a tile for such heads.
template <class T, class F>
void with_columns(i64 head_dim, const F& f) {
  if constexpr (!std::is_same_v<T, double>) {
    if (head_dim > 64 && head_dim <= 128) return f(std::integral_constant<int, 128>{});
    if (head_dim > 32 && head_dim <= 64) return f(std::integral_constant<int, 64>{});
  }
  f(std::integral_constant<int, kNarrowest>{});
}

/// And with what its products are taken of.
template <class T, class F>
void with_operands(const F& f) {
  if constexpr (std::is_same_v<T, float>)
    if (tf32_allowed()) return f(std::integral_constant<Operands, Operands::tf32>{});
  f(std::integral_constant<Operands, Operands::exact>{});
}

}  // namespace minima::MINIMA_BACKEND::attention
