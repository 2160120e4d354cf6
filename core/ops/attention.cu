/// Packed attention on a GPU, in tiles: a block takes some rows of one text and head, a warp 16 of them, and goes along the
/// text's other rows, a tile of them at a time in shared memory. Scores and weights stay in registers.
///
///   forward          the rows are queries, the others keys; the softmax is formed as they pass (Milakov and Gimelshein 2018,
///                    arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135)
///   query_gradient   the same, after the sums rowsum(dP ⊙ P), taken as rowsum(dy ⊙ y)
///   key_gradient     the rows are keys, the others queries; everything stands transposed
///
/// Heads of 33 to 128 columns fit into tiles of 64 or 128; wider ones are taken part by part, 32 columns at a time, with the
/// scores formed anew for each part of the result. All sums are formed in a fixed order.
#include <limits>
#include <tuple>

#include "core/cuda/async_copy.hpp"
#include "core/cuda/tile_product.hpp"
#include "core/math.hpp"
#include "core/ops/attention_heads.hpp"
#include "core/ops/convert.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/row.hpp"

namespace minima::ops {
namespace {

using namespace MINIMA_BACKEND;

constexpr int kWarpRows = 16;  ///< of a tile product
constexpr int kMostWarps = 4;
constexpr int kNarrowest = 32;  ///< columns of a tile
constexpr int kGroup = 64;      ///< keys whose dropout is drawn at once
static_assert(kGroup % (kMostWarps * kWarpRows) == 0, "a block's keys lie in one group");

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

/// Which keys of a group dropout keeps for the lane's two rows, the queries from `first` on, `left` of which there are: bit
/// 16 (e / 2) + 2 n + e % 2 for its sum (n, e). One drawing says it of keys 16 apart, and those are the lane's own.
template <class T>
__device__ u32 draw_own(const AttentionHeads<T>& x, const Task<T>& task, int first, int left,
                        int group) {
  DropoutRow mask = head_mask(x.dropout, task.head, task.example, 0);
  u32 bits = 0;
  for (int half = 0; half < 2; ++half) {
    const int row = row_of(2 * half);
    if (row >= left) continue;
    mask.position = static_cast<u64>(x.query_positions[task.query + first + row]);
    for (int i = 0; i < 4; ++i) {  // of the first 16 keys the lane has four
      bool keeps[4];
      mask.keep_four(i64{group} * kGroup + column_of(i / 2, i % 2), keeps);
      for (int k = 0; k < 4; ++k) bits |= u32{keeps[k]} << (16 * half + 4 * k + i);
    }
  }
  return bits;
}
/// The same of the tile that begins with `key`: bits for its own n.
__device__ inline u32 of_tile(u32 bits, int key) { return bits >> (key % kGroup / 8 * 2); }
__device__ inline bool is_kept_own(u32 bits, int n, int e) {
  return bits & 1u << (e / 2 * 16 + n * 2 + e % 2);
}

/// The same for each of `rows` queries from `first` on, in a word for each. A warp draws for two queries at a time, a lane for
/// four keys.
template <class T>
__device__ void draw(u64* kept, int rows, const AttentionHeads<T>& x, const Task<T>& task,
                     int first, int group) {
  DropoutRow mask = head_mask(x.dropout, task.head, task.example, 0);
  const int half = threadIdx.x % 32 / 16, lane = threadIdx.x % 16;
  for (int pair = threadIdx.x / 32 * 2; pair < rows; pair += blockDim.x / 16) {
    const int query = first + pair + half;
    bool keeps[4] = {};
    if (query < task.queries) {
      mask.position = static_cast<u64>(x.query_positions[task.query + query]);
      mask.keep_four(i64{group} * kGroup + lane, keeps);
    }
    u64 word = 0;
    MINIMA_UNROLL for (int k = 0; k < 4; ++k) {
      const unsigned both = __ballot_sync(kAllLanes, keeps[k]);
      word |= static_cast<u64>(both >> (16 * half) & 0xffff) << (16 * k);
    }
    if (lane == 0) kept[pair + half] = word;
  }
}
__device__ inline bool is_kept(u64 word, int key) { return word >> (key % kGroup) & 1; }

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

template <class T, int D, Operands kOperands>
__global__ void __launch_bounds__(32 * Shared<T, D>::most_warps(1), Shared<T, D>::forward_blocks())
    forward_kernel(AttentionHeads<T> x, RowsAt<T> y, Widened<T>* log_sum) {
  using R = Widened<T>;
  using Power = Powers<T, kOperands>;
  constexpr int kKeys = kOthers<T, D>, N = kKeys / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.query_offsets, x.query_rows, rows);
  if (task.first >= task.queries) return;
  const int left = task.queries - task.first - warp_row;  // of the warp's rows; maybe none
  const int parts = parts_of<D>(x.head_dim);
  const int steps = (task.keys + kKeys - 1) / kKeys * parts;

  const R scale = x.scale * Power::unit;
  const bool drops = x.dropout.rate > 0;
  const Shared<T, D> shared;
  T* const q = shared.own_rows(0);
  AsyncCopies copies;
  for (int part = 0; part < parts; ++part) {
    // A step takes a tile of keys, one part of the scores after the other.
    const auto fetch_for = [&](int step) {
      const int number = step / parts, of_product = step % parts;
      if (parts > 1 || step == 0)
        queries_of<D>(x, task, x.q).fetch(copies, q, rows, task.first, of_product);
      keys_of<D>(x, task, x.k)
          .fetch(copies, shared.tile(step).first, kKeys, number * kKeys, of_product);
      if (of_product == 0)
        keys_of<D>(x, task, x.v)
            .fetch(copies, shared.tile(number).second, kKeys, number * kKeys, part);
    };
    TileSums<T, D / 8> sums = {};
    TileSums<T, N> p;
    R largest[2] = {-std::numeric_limits<R>::infinity(), -std::numeric_limits<R>::infinity()};
    R total[2] = {};
    u32 kept = ~0u;
    for_each_step(parts, steps, copies, fetch_for, [&](int step) {
      if (left <= 0) return;
      const int key = step / parts * kKeys, of_product = step % parts;
      if (of_product == 0) {
        each_sum<N>([&](int n, int e) { p[n][e] = 0; });
        if (drops && key % kGroup == 0)
          kept = draw_own(x, task, task.first + warp_row, left, key / kGroup);
      }
      add_product_with_transposed<D, kOperands>(p, q + warp_row * kRowOf<T, D>,
                                                shared.tile(step).first);
      if (of_product + 1 < parts) return;
      if (key + kKeys > task.keys)
        each_sum<N>([&](int n, int e) {
          if (key + column_of(n, e) >= task.keys) p[n][e] = -std::numeric_limits<R>::infinity();
        });
      R now[2] = {p[0][0], p[0][2]};
      each_sum<N>([&](int n, int e) { now[e / 2] = std::fmax(now[e / 2], p[n][e]); });
      R shrunk[2];
      MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
        now[half] = std::fmax(largest[half], scale * row_fold(now[half], Larger{}));
        shrunk[half] = Power::of(largest[half] - now[half]);
        largest[half] = now[half];
        total[half] *= shrunk[half];
      }
      each_sum<D / 8>([&](int m, int e) { sums[m][e] *= shrunk[e / 2]; });
      const u32 kept_here = of_tile(kept, key);
      each_sum<N>([&](int n, int e) {
        const R weight = Power::of(p[n][e], scale, now[e / 2]);
        total[e / 2] += weight;
        p[n][e] = is_kept_own(kept_here, n, e) ? weight : R(0);
      });
      add_product<T, kOperands>(sums, p, shared.tile(step / parts).second);
    });
    if (left <= 0) continue;
    MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
      total[half] = row_fold(total[half], Sum{});
      const int row = row_of(2 * half);
      if (part == 0 && threadIdx.x % 4 == 0 && row < left)
        log_sum[task.number(x, task.first + warp_row + row)] =
            largest[half] / Power::unit + math::log(total[half]);
    }
    const auto factor = [&](R sum) { return sum == 0 ? R(0) : x.kept_scale / sum; };  // 0: no keys
    store(sums, factor(total[0]), factor(total[1]), y, task.query + task.first + warp_row, left,
          task.head * x.head_dim + D * part, x.head_dim - D * part);
  }
}

/// dots = rowsum(dy ⊙ y), for the two rows of the lane.
template <class T>
__device__ void sum_dots(const AttentionHeads<T>& x, const Task<T>& task, RowsAt<T> dy, RowsAt<T> y,
                         int warp_row, int left, Widened<T>* dots, Widened<T> (&dot)[2]) {
  const i64 column = task.head * x.head_dim;
  for (int half = 0; half < 2; ++half) {
    const int row = row_of(2 * half), query = task.first + warp_row + row;
    dot[half] = 0;
    if (row < left) {
      const T* const g = dy.row(task.query + query, column);
      const T* const of_y = y.row(task.query + query, column);
      const bool words = Word<T>::fits(g) && Word<T>::fits(of_y) && x.head_dim % kPerWord<T> == 0;
      const int width = words ? kPerWord<T> : 1;
      for (int c = threadIdx.x % 4 * width; c < x.head_dim; c += 4 * width) {
        const auto add = [&](T a, T b) { dot[half] += widened(a) * widened(b); };
        if (words) {
          const auto a = Word<T>::load(g + c), b = Word<T>::load(of_y + c);
          for (int k = 0; k < kPerWord<T>; ++k) add(a.x[k], b.x[k]);
        } else {
          add(g[c], of_y[c]);
        }
      }
    }
    dot[half] = row_fold(dot[half], Sum{});
    if (threadIdx.x % 4 == 0 && row < left) dots[task.number(x, query)] = dot[half];
  }
}

/// dots, dS = P ⊙ (dP − dots), dq = dS k · scale.
template <class T, int D, Operands kOperands>
__global__ void __launch_bounds__(32 * Shared<T, D>::most_warps(2), Shared<T, D>::gradient_blocks())
    query_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, RowsAt<T> y, const Widened<T>* log_sum,
                          Widened<T>* dots, RowsAt<T> dq) {
  using R = Widened<T>;
  using Power = Powers<T, kOperands>;
  constexpr int kKeys = kOthers<T, D>, N = kKeys / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.query_offsets, x.query_rows, rows);
  if (task.first >= task.queries) return;
  const int left = task.queries - task.first - warp_row;
  // A step takes a tile of keys, one part of the scores after the other; then, of several, that of dq.
  const int parts = parts_of<D>(x.head_dim), turns = parts > 1 ? parts + 1 : 1;
  const int steps = (task.keys + kKeys - 1) / kKeys * turns;

  const R scale = x.scale * Power::unit;
  const bool drops = x.dropout.rate > 0;
  const Shared<T, D> shared;
  T *const q = shared.own_rows(0), *const g = shared.own_rows(1);
  AsyncCopies copies;
  R dot[2] = {}, log_sums[2] = {};
  for (int part = 0; part < parts; ++part) {
    const auto fetch_for = [&](int step) {
      const int key = step / turns * kKeys, turn = step % turns;
      if (turn < parts && (parts > 1 || step == 0)) {
        queries_of<D>(x, task, x.q).fetch(copies, q, rows, task.first, turn);
        queries_of<D>(x, task, dy).fetch(copies, g, rows, task.first, turn);
      }
      keys_of<D>(x, task, x.k)
          .fetch(copies, shared.tile(step).first, kKeys, key, turn < parts ? turn : part);
      if (turn < parts)
        keys_of<D>(x, task, x.v).fetch(copies, shared.tile(step).second, kKeys, key, turn);
      if (step > 0 || part > 0) return;
      // While the first copies are under way.
      sum_dots(x, task, dy, y, warp_row, left, dots, dot);
      const i64 number = task.number(x, task.first + warp_row);  // of the warp's first row
      for (int half = 0; half < 2; ++half)
        log_sums[half] =
            row_of(2 * half) < left ? log_sum[number + row_of(2 * half)] * Power::unit : R(0);
    };
    TileSums<T, D / 8> sums = {};
    TileSums<T, N> p, dp;
    u32 kept = ~0u;
    for_each_step(parts, steps, copies, fetch_for, [&](int step) {
      if (left <= 0) return;
      const int key = step / turns * kKeys, turn = step % turns;
      const T *const k = shared.tile(step).first, *const v = shared.tile(step).second;
      if (turn == 0) {
        each_sum<N>([&](int n, int e) { p[n][e] = dp[n][e] = 0; });
        if (drops && key % kGroup == 0)
          kept = draw_own(x, task, task.first + warp_row, left, key / kGroup);
      }
      if (turn < parts) {
        add_product_with_transposed<D, kOperands>(p, q + warp_row * kRowOf<T, D>, k);
        add_product_with_transposed<D, kOperands>(dp, g + warp_row * kRowOf<T, D>, v);
      }
      if (turn + 1 < turns) return;
      const u32 kept_here = of_tile(kept, key);
      each_sum<N>([&](int n, int e) {
        const R gradient = is_kept_own(kept_here, n, e) ? x.kept_scale * dp[n][e] : R(0);
        p[n][e] = Power::of(p[n][e], scale, log_sums[e / 2]) * (gradient - dot[e / 2]);
      });
      if (key + kKeys > task.keys)
        each_sum<N>([&](int n, int e) {
          if (key + column_of(n, e) >= task.keys) p[n][e] = 0;
        });
      add_product<T, kOperands>(sums, p, k);
    });
    if (left > 0)
      store(sums, x.scale, x.scale, dq, task.query + task.first + warp_row, left,
            task.head * x.head_dim + D * part, x.head_dim - D * part);
  }
}

/// dv = dropout(P)ᵀ dy, dk = dSᵀ q · scale.
template <class T, int D, Operands kOperands>
__global__ void __launch_bounds__(32 * Shared<T, D>::most_warps(2), Shared<T, D>::gradient_blocks())
    key_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, const Widened<T>* log_sum,
                        const Widened<T>* dots, RowsAt<T> dk, RowsAt<T> dv) {
  using R = Widened<T>;
  using Power = Powers<T, kOperands>;
  constexpr int kQueries = kOthers<T, D>, N = kQueries / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.key_offsets, x.key_rows, rows);
  if (task.first >= task.keys) return;
  const int left = task.keys - task.first - warp_row;
  const int parts = parts_of<D>(x.head_dim), turns = parts > 1 ? parts + 1 : 1;
  const int steps = (task.queries + kQueries - 1) / kQueries * turns;

  const R scale = x.scale * Power::unit;
  const bool drops = x.dropout.rate > 0;
  const Shared<T, D> shared;
  T *const k = shared.own_rows(0), *const v = shared.own_rows(1);
  AsyncCopies copies;
  for (int part = 0; part < parts; ++part) {
    const auto fetch_for = [&](int step) {
      const int number = step / turns, query = number * kQueries, turn = step % turns;
      const int of_product = turn < parts ? turn : part;
      if (turn < parts && (parts > 1 || step == 0)) {
        keys_of<D>(x, task, x.k).fetch(copies, k, rows, task.first, turn);
        keys_of<D>(x, task, x.v).fetch(copies, v, rows, task.first, turn);
      }
      queries_of<D>(x, task, x.q)
          .fetch(copies, shared.tile(step).first, kQueries, query, of_product);
      queries_of<D>(x, task, dy)
          .fetch(copies, shared.tile(step).second, kQueries, query, of_product);
      if (turn > 0) return;
      auto& tile = shared.tile(number);
      if (const int i = threadIdx.x; i < kQueries) {
        const i64 at = task.number(x, query + i);
        if (query + i < task.queries) {
          copies.start<1>(tile.log_sum + i, log_sum + at);
          copies.start<1>(tile.dots + i, dots + at);
        } else {  // whose weight is 0, where no key is infinite
          tile.log_sum[i] = std::numeric_limits<R>::infinity();
          tile.dots[i] = 0;
        }
        if (!drops) tile.kept[i] = ~u64{0};
      }
      if (drops) draw(tile.kept, kQueries, x, task, query, task.first / kGroup);
    };
    TileSums<T, D / 8> of_keys = {}, of_values = {};
    TileSums<T, N> p, dp;  // transposed
    for_each_step(parts, steps, copies, fetch_for, [&](int step) {
      if (left <= 0) return;
      const int turn = step % turns;
      const T *const q = shared.tile(step).first, *const g = shared.tile(step).second;
      if (turn == 0) each_sum<N>([&](int n, int e) { p[n][e] = dp[n][e] = 0; });
      if (turn < parts) {
        add_product_with_transposed<D, kOperands>(p, k + warp_row * kRowOf<T, D>, q);
        add_product_with_transposed<D, kOperands>(dp, v + warp_row * kRowOf<T, D>, g);
      }
      if (turn + 1 < turns) return;
      const auto& tile = shared.tile(step / turns);
      each_sum<N>([&](int n, int e) {
        const int i = column_of(n, e);
        const R weight = Power::of(p[n][e], scale, tile.log_sum[i] * Power::unit);
        const bool keep = is_kept(tile.kept[i], task.first + warp_row + row_of(e));
        p[n][e] = keep ? weight : R(0);
        dp[n][e] = weight * ((keep ? x.kept_scale * dp[n][e] : R(0)) - tile.dots[i]);
      });
      add_product<T, kOperands>(of_values, p, g);
      add_product<T, kOperands>(of_keys, dp, q);
    });
    if (left <= 0) continue;
    const int row = task.key + task.first + warp_row, column = task.head * x.head_dim + D * part,
              columns = x.head_dim - D * part;
    store(of_values, x.kept_scale, x.kept_scale, dv, row, left, column, columns);
    store(of_keys, x.scale, x.scale, dk, row, left, column, columns);
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

}  // namespace

template <AnyGpu Gpu, class T>
void attention_forward(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> y, Widened<T>* log_sum) {
  with_columns<T>(x.head_dim, [&](auto columns) {
    constexpr int D = columns;
    const int warps = warps_for<T, D>(x, x.query_rows, 1);
    with_operands<T>([&](auto operands) {
      constexpr Operands kOperands = operands;
      launch(gpu, forward_kernel<T, D, kOperands>, blocks_for(x, x.query_rows, warps), 32 * warps,
             Shared<T, D>::bytes(warps, 1), x, y, log_sum);
    });
  });
}

template <AnyGpu Gpu, class T>
void attention_gradients(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> dy, RowsAt<T> y,
                         const Widened<T>* log_sum, Widened<T>* dots, RowsAt<T> dq, RowsAt<T> dk,
                         RowsAt<T> dv) {
  with_columns<T>(x.head_dim, [&](auto columns) {
    constexpr int D = columns;
    const int of_queries = warps_for<T, D>(x, x.query_rows, 2),
              of_keys = warps_for<T, D>(x, x.key_rows, 2);
    with_operands<T>([&](auto operands) {
      constexpr Operands kOperands = operands;
      launch(gpu, query_gradient_kernel<T, D, kOperands>, blocks_for(x, x.query_rows, of_queries),
             32 * of_queries, Shared<T, D>::bytes(of_queries, 2), x, dy, y, log_sum, dots, dq);
      launch(gpu, key_gradient_kernel<T, D, kOperands>, blocks_for(x, x.key_rows, of_keys),
             32 * of_keys, Shared<T, D>::bytes(of_keys, 2), x, dy, log_sum,
             static_cast<const Widened<T>*>(dots), dk, dv);
    });
  });
}

namespace {

template <class... T>
constexpr auto all() {
  using MINIMA_BACKEND::Gpu;
  return std::tuple{&attention_forward<Gpu, T>..., &attention_gradients<Gpu, T>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut = all<float, double, bf16, f16>();

}  // namespace
}  // namespace minima::ops
