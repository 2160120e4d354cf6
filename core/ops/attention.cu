/// Packed attention on a GPU, in tiles: a block takes some rows of one text and head, a warp 16 of them, and goes along the
/// text's other rows, a tile of them at a time in shared memory. Scores and weights stay in registers.
///
///   forward          the rows are queries, the others keys; the softmax is formed as they pass (Milakov and Gimelshein 2018,
///                    arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135)
///   query_gradient   the same: first the sums rowsum(dP ⊙ P), then dq
///   key_gradient     the rows are keys, the others queries; everything stands transposed
///
/// Heads of 33 to 128 columns fit into tiles of 64 or 128; wider ones are taken part by part, 32 columns at a time, with the
/// scores formed anew for each part of the result. All sums are formed in a fixed order.
#include <limits>
#include <tuple>

#include "core/cuda/tile_product.hpp"
#include "core/math.hpp"
#include "core/ops/attention_heads.hpp"
#include "core/ops/convert.hpp"
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
constexpr int kOthers = sizeof(T) * D > 256 ? 16 : 32;

/// What a block of so many warps has in shared memory: its own rows of one matrix or two, tiles of two matrices' other
/// rows, and a word for each query.
template <class T, int D>
constexpr std::size_t shared_bytes(int warps, int matrices) {
  constexpr int others = kOthers<T, D>;
  const int rows = warps * kWarpRows, queries = rows > others ? rows : others;
  return (matrices * rows + 2 * others) * kRowOf<T, D> * sizeof(T) + queries * sizeof(u64);
}

/// The most warps whose shared memory every GPU has for every block.
template <class T, int D>
constexpr int most_warps(int matrices) {
  int warps = kMostWarps;
  while (shared_bytes<T, D>(warps, matrices) > std::size_t{kUnaskedShared}) warps /= 2;
  return warps;
}

/// The blocks of a gradient's kernel that shall fit into the 65536 registers of a processor: more would spill.
template <class T, int D>
constexpr int blocks_at_once() {
  return 65536 / (32 * most_warps<T, D>(2) * (sizeof(T) == 8 || D > 64 ? 255 : 168));
}

/// Into how many tiles of D columns a head is cut.
template <int D>
__device__ int parts_of(i64 head_dim) {
  return D == kNarrowest ? static_cast<int>((head_dim + D - 1) / D) : 1;
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
  return x.heads * (all / (warps * kWarpRows) + x.texts);
}

/// So many warps that a text of average length fills them.
template <class T, int D>
int warps_for(const AttentionHeads<T>& x, i64 all, int matrices) {
  int warps = most_warps<T, D>(matrices);
  while (warps > 1 && all <= warps / 2 * kWarpRows * x.texts) warps /= 2;
  return warps;
}

/// Fills a tile of `rows` rows, D columns, with the `there` rows of a matrix from `row` on, the `columns` columns from
/// `column` on; with zeros where there are none.
template <int D, class T>
__device__ void load(T* tile, int rows, RowsAt<T> from, int row, int there, i64 column,
                     int columns) {
  const T* const start = from.row(row, column);
  const bool words = Word<T>::fits(start) && from.stride % kPerWord<T> == 0;
  constexpr int kWords = D / kPerWord<T>;
  for (int i = threadIdx.x; i < rows * kWords; i += blockDim.x) {
    const int r = i / kWords, c = i % kWords * kPerWord<T>;
    const T* const at = start + r * from.stride + c;
    T* const to = tile + r * kRowOf<T, D> + c;
    if (words && r < there && c + kPerWord<T> <= columns) {
      Word<T>::load(at).store(to);
    } else {
      for (int k = 0; k < kPerWord<T>; ++k) to[k] = r < there && c + k < columns ? at[k] : T();
    }
  }
}

/// The text's queries (of q, dy) or keys (of k, v) from `first` on, the head's columns from D · part on.
template <int D, class T>
__device__ void load_queries(T* tile, int rows, const AttentionHeads<T>& x, const Task<T>& task,
                             RowsAt<T> from, int first, int part) {
  load<D>(tile, rows, from, task.query + first, task.queries - first,
          task.head * x.head_dim + D * part, static_cast<int>(x.head_dim) - D * part);
}
template <int D, class T>
__device__ void load_keys(T* tile, int rows, const AttentionHeads<T>& x, const Task<T>& task,
                          RowsAt<T> from, int first, int part) {
  load<D>(tile, rows, from, task.key + first, task.keys - first, task.head * x.head_dim + D * part,
          static_cast<int>(x.head_dim) - D * part);
}

/// Which keys of a group dropout keeps for each of `rows` queries from `first` on: a bit each, in a word for each query. A warp
/// draws for two queries at a time, a lane for four keys.
template <class T>
__device__ void draw(u64* kept, int rows, const AttentionHeads<T>& x, const Task<T>& task,
                     int first, int group) {
  const int half = threadIdx.x % 32 / 16, lane = threadIdx.x % 16;
  for (int pair = threadIdx.x / 32 * 2; pair < rows; pair += blockDim.x / 16) {
    const int query = first + pair + half;
    bool keeps[4] = {};
    if (query < task.queries)
      head_mask(x.dropout, task.head, task.example, x.query_positions[task.query + query])
          .keep_four(i64{group} * kGroup + lane, keeps);
    u64 word = 0;
    MINIMA_UNROLL for (int k = 0; k < 4; ++k) {
      const unsigned both = __ballot_sync(kAllLanes, keeps[k]);
      word |= static_cast<u64>(both >> (16 * half) & 0xffff) << (16 * k);
    }
    if (lane == 0) kept[pair + half] = word;
  }
}
__device__ inline bool is_kept(u64 word, int key) { return word >> (key % kGroup) & 1; }

/// The values of the four lanes that share a row merged, for all of them.
template <class R, class Merge>
__device__ R row_fold(R value, const Merge& merge) {
  value = merge(value, __shfl_xor_sync(kAllLanes, value, 1));
  return merge(value, __shfl_xor_sync(kAllLanes, value, 2));
}

/// Rows of the warp, `left` of which there are: to ← factor[half] · sums.
template <class T, class R, int M>
__device__ void store(const R (&sums)[M][4], R upper, R lower, RowsAt<T> to, int row, int left,
                      i64 column, i64 columns) {
  using Pair = Pack<T, 2>;
  T* const start = to.row(row, column);
  const bool pairs = Pair::fits(start) && to.stride % 2 == 0;
  each_sum<M>([&](int m, int e) {
    const int c = column_of(m, e);
    if (e % 2 == 1 || row_of(e) >= left || c >= columns) return;
    const R factor = e == 0 ? upper : lower;
    const Pair pair{converted<T>(factor * sums[m][e]), converted<T>(factor * sums[m][e + 1])};
    T* const at = start + row_of(e) * to.stride + c;
    if (pairs && c + 1 < columns) {
      pair.store(at);
    } else {
      at[0] = pair.x[0];
      if (c + 1 < columns) at[1] = pair.x[1];
    }
  });
}

template <class T, int D>
__global__ void __launch_bounds__(32 * most_warps<T, D>(1))
    forward_kernel(AttentionHeads<T> x, RowsAt<T> y, Widened<T>* log_sum) {
  using R = Widened<T>;
  constexpr int N = kOthers<T, D> / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.query_offsets, x.query_rows, rows);
  if (task.first >= task.queries) return;
  const int left = task.queries - task.first - warp_row;  // of the warp's rows; maybe none
  const int parts = parts_of<D>(x.head_dim);

  T *const q = MINIMA_DYNAMIC_SHARED(T), *const k = q + rows * kRowOf<T, D>,
           *const v = k + 8 * N * kRowOf<T, D>;
  u64* const kept = reinterpret_cast<u64*>(v + 8 * N * kRowOf<T, D>);

  if (parts == 1) load_queries<D>(q, rows, x, task, x.q, task.first, 0);
  for (int part = 0; part < parts; ++part) {
    Sums<T, D / 8> sums = {};
    R largest[2] = {-std::numeric_limits<R>::infinity(), -std::numeric_limits<R>::infinity()};
    R total[2] = {};
    for (int key = 0; key < task.keys; key += 8 * N) {
      Sums<T, N> p = {};
      for (int of_product = 0; of_product < parts; ++of_product) {
        __syncthreads();  // what lies there has been used
        if (parts > 1) load_queries<D>(q, rows, x, task, x.q, task.first, of_product);
        load_keys<D>(k, 8 * N, x, task, x.k, key, of_product);
        if (of_product == 0) load_keys<D>(v, 8 * N, x, task, x.v, key, part);
        if (of_product == 0 && x.dropout.rate > 0 && key % kGroup == 0)
          draw(kept, rows, x, task, task.first, key / kGroup);
        __syncthreads();
        if (left > 0) add_product_with_transposed<D>(p, q + warp_row * kRowOf<T, D>, k);
      }
      if (left <= 0) continue;
      R now[2] = {largest[0], largest[1]};
      each_sum<N>([&](int n, int e) {
        const bool there = key + column_of(n, e) < task.keys;
        p[n][e] = there ? x.scale * p[n][e] : -std::numeric_limits<R>::infinity();
        now[e / 2] = Larger{}(now[e / 2], p[n][e]);
      });
      R shrunk[2];
      MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
        now[half] = row_fold(now[half], Larger{});
        shrunk[half] = math::exp(largest[half] - now[half]);
        largest[half] = now[half];
        total[half] *= shrunk[half];
      }
      each_sum<D / 8>([&](int m, int e) { sums[m][e] *= shrunk[e / 2]; });
      each_sum<N>([&](int n, int e) {
        p[n][e] = math::exp(p[n][e] - now[e / 2]);
        total[e / 2] += p[n][e];
        if (x.dropout.rate > 0)
          p[n][e] = is_kept(kept[warp_row + row_of(e)], key + column_of(n, e))
                        ? x.kept_scale * p[n][e]
                        : R(0);
      });
      add_product<T>(sums, p, v);
    }
    if (left <= 0) continue;
    MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
      total[half] = row_fold(total[half], Sum{});
      const int row = row_of(2 * half);
      if (part == 0 && threadIdx.x % 4 == 0 && row < left)
        log_sum[task.number(x, task.first + warp_row + row)] =
            largest[half] + math::log(total[half]);
    }
    const auto inverse = [](R x) { return x == 0 ? R(0) : 1 / x; };  // 0: there are no keys
    store(sums, inverse(total[0]), inverse(total[1]), y, task.query + task.first + warp_row, left,
          task.head * x.head_dim + D * part, x.head_dim - D * part);
  }
}

/// dots = rowsum(dP ⊙ P), dS = P ⊙ (dP − dots), dq = dS k · scale.
template <class T, int D>
__global__ void __launch_bounds__(32 * most_warps<T, D>(2), blocks_at_once<T, D>())
    query_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, const Widened<T>* log_sum,
                          Widened<T>* dots, RowsAt<T> dq) {
  using R = Widened<T>;
  constexpr int N = kOthers<T, D> / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.query_offsets, x.query_rows, rows);
  if (task.first >= task.queries) return;
  const int left = task.queries - task.first - warp_row;
  const int parts = parts_of<D>(x.head_dim);

  T *const q = MINIMA_DYNAMIC_SHARED(T), *const g = q + rows * kRowOf<T, D>,
           *const k = g + rows * kRowOf<T, D>, *const v = k + 8 * N * kRowOf<T, D>;
  u64* const kept = reinterpret_cast<u64*>(v + 8 * N * kRowOf<T, D>);
  int group = -1;  // whose dropout has been drawn

  const auto load_own = [&](int part) {
    load_queries<D>(q, rows, x, task, x.q, task.first, part);
    load_queries<D>(g, rows, x, task, dy, task.first, part);
  };
  if (parts == 1) load_own(0);
  const i64 number = task.number(x, task.first + warp_row);  // of the warp's first row
  const R log_sums[2] = {row_of(0) < left ? log_sum[number + row_of(0)] : R(0),
                         row_of(2) < left ? log_sum[number + row_of(2)] : R(0)};

  // Forth for the dots, back for dq; where it turns, the last tile's weights are still there.
  Sums<T, N> p, dp;
  R dot[2] = {};
  const int tiles = (task.keys + 8 * N - 1) / (8 * N);
  for (int part = 0; part < parts; ++part) {
    Sums<T, D / 8> sums = {};
    for (int turn = part == 0 ? 0 : tiles; turn < 2 * tiles; ++turn) {
      const int key = (turn < tiles ? turn : 2 * tiles - 1 - turn) * 8 * N;
      if (turn != tiles || part > 0) {
        each_sum<N>([&](int n, int e) { p[n][e] = dp[n][e] = 0; });
        for (int of_product = 0; of_product < parts; ++of_product) {
          __syncthreads();  // what lies there has been used
          if (parts > 1) load_own(of_product);
          load_keys<D>(k, 8 * N, x, task, x.k, key, of_product);
          load_keys<D>(v, 8 * N, x, task, x.v, key, of_product);
          if (x.dropout.rate > 0 && key / kGroup != group) {
            group = key / kGroup;
            draw(kept, rows, x, task, task.first, group);
          }
          __syncthreads();
          if (left <= 0) continue;
          add_product_with_transposed<D>(p, q + warp_row * kRowOf<T, D>, k);
          add_product_with_transposed<D>(dp, g + warp_row * kRowOf<T, D>, v);
        }
        if (left > 0)
          each_sum<N>([&](int n, int e) {
            const int j = key + column_of(n, e);
            p[n][e] = j < task.keys ? math::exp(x.scale * p[n][e] - log_sums[e / 2]) : R(0);
            if (x.dropout.rate > 0)
              dp[n][e] = is_kept(kept[warp_row + row_of(e)], j) ? x.kept_scale * dp[n][e] : R(0);
          });
      }
      if (turn < tiles) {
        each_sum<N>([&](int n, int e) { dot[e / 2] += p[n][e] * dp[n][e]; });
        continue;
      }
      if (turn == tiles && part == 0) MINIMA_UNROLL for (int half = 0; half < 2; ++half) {
          dot[half] = row_fold(dot[half], Sum{});
          if (threadIdx.x % 4 == 0 && row_of(2 * half) < left)
            dots[number + row_of(2 * half)] = dot[half];
        }
      if (parts > 1) {
        __syncthreads();
        load_keys<D>(k, 8 * N, x, task, x.k, key, part);
        __syncthreads();
      }
      if (left <= 0) continue;
      each_sum<N>([&](int n, int e) { p[n][e] *= dp[n][e] - dot[e / 2]; });
      add_product<T>(sums, p, k);
    }
    if (left > 0)
      store(sums, x.scale, x.scale, dq, task.query + task.first + warp_row, left,
            task.head * x.head_dim + D * part, x.head_dim - D * part);
  }
}

/// dv = dropout(P)ᵀ dy, dk = dSᵀ q · scale.
template <class T, int D>
__global__ void __launch_bounds__(32 * most_warps<T, D>(2), blocks_at_once<T, D>())
    key_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, const Widened<T>* log_sum,
                        const Widened<T>* dots, RowsAt<T> dk, RowsAt<T> dv) {
  using R = Widened<T>;
  constexpr int N = kOthers<T, D> / 8;
  const int rows = blockDim.x / 32 * kWarpRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const Task<T> task(x, x.key_offsets, x.key_rows, rows);
  if (task.first >= task.keys) return;
  const int left = task.keys - task.first - warp_row;
  const int parts = parts_of<D>(x.head_dim);

  T *const k = MINIMA_DYNAMIC_SHARED(T), *const v = k + rows * kRowOf<T, D>,
           *const q = v + rows * kRowOf<T, D>, *const g = q + 8 * N * kRowOf<T, D>;
  u64* const kept = reinterpret_cast<u64*>(g + 8 * N * kRowOf<T, D>);

  const auto load_own = [&](int part) {
    load_keys<D>(k, rows, x, task, x.k, task.first, part);
    load_keys<D>(v, rows, x, task, x.v, task.first, part);
  };
  const auto load_others = [&](int query, int part) {
    load_queries<D>(q, 8 * N, x, task, x.q, query, part);
    load_queries<D>(g, 8 * N, x, task, dy, query, part);
  };
  if (parts == 1) load_own(0);
  for (int part = 0; part < parts; ++part) {
    Sums<T, D / 8> of_keys = {}, of_values = {};
    for (int query = 0; query < task.queries; query += 8 * N) {
      Sums<T, N> p = {}, dp = {};  // transposed
      for (int of_product = 0; of_product < parts; ++of_product) {
        __syncthreads();  // what lies there has been used
        if (parts > 1) load_own(of_product);
        load_others(query, of_product);
        if (of_product == 0 && x.dropout.rate > 0)
          draw(kept, 8 * N, x, task, query, task.first / kGroup);
        __syncthreads();
        if (left <= 0) continue;
        add_product_with_transposed<D>(p, k + warp_row * kRowOf<T, D>, q);
        add_product_with_transposed<D>(dp, v + warp_row * kRowOf<T, D>, g);
      }
      if (parts > 1) {
        __syncthreads();
        load_others(query, part);
        __syncthreads();
      }
      if (left <= 0) continue;
      each_sum<N>([&](int n, int e) {
        const int i = column_of(n, e);
        const bool there = query + i < task.queries;
        const i64 number = task.number(x, query + i);
        const R weight = there ? math::exp(x.scale * p[n][e] - log_sum[number]) : R(0);
        R gradient = dp[n][e];
        p[n][e] = weight;
        if (x.dropout.rate > 0) {
          const bool keep = is_kept(kept[i], task.first + warp_row + row_of(e));
          p[n][e] = keep ? x.kept_scale * weight : R(0);
          gradient = keep ? x.kept_scale * gradient : R(0);
        }
        dp[n][e] = there ? weight * (gradient - dots[number]) : R(0);
      });
      add_product<T>(of_values, p, g);
      add_product<T>(of_keys, dp, q);
    }
    if (left <= 0) continue;
    const int row = task.key + task.first + warp_row, column = task.head * x.head_dim + D * part,
              columns = x.head_dim - D * part;
    store(of_values, R(1), R(1), dv, row, left, column, columns);
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

}  // namespace

template <AnyGpu Gpu, class T>
void attention_forward(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> y, Widened<T>* log_sum) {
  with_columns<T>(x.head_dim, [&](auto columns) {
    constexpr int D = columns;
    const int warps = warps_for<T, D>(x, x.query_rows, 1);
    launch(gpu, forward_kernel<T, D>, blocks_for(x, x.query_rows, warps), 32 * warps,
           shared_bytes<T, D>(warps, 1), x, y, log_sum);
  });
}

template <AnyGpu Gpu, class T>
void attention_gradients(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> dy,
                         const Widened<T>* log_sum, Widened<T>* dots, RowsAt<T> dq, RowsAt<T> dk,
                         RowsAt<T> dv) {
  with_columns<T>(x.head_dim, [&](auto columns) {
    constexpr int D = columns;
    const int of_queries = warps_for<T, D>(x, x.query_rows, 2),
              of_keys = warps_for<T, D>(x, x.key_rows, 2);
    launch(gpu, query_gradient_kernel<T, D>, blocks_for(x, x.query_rows, of_queries),
           32 * of_queries, shared_bytes<T, D>(of_queries, 2), x, dy, log_sum, dots, dq);
    launch(gpu, key_gradient_kernel<T, D>, blocks_for(x, x.key_rows, of_keys), 32 * of_keys,
           shared_bytes<T, D>(of_keys, 2), x, dy, log_sum, static_cast<const Widened<T>*>(dots), dk,
           dv);
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
