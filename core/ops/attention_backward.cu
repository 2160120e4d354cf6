/// The gradients of attention, by two kernels:
///
///   query_gradient   the rows are queries, the others keys, as in attention_forward.cu, after the sums rowsum(dP ⊙ P), taken
///                    as rowsum(dy ⊙ y)
///   key_gradient     the rows are keys, the others queries; everything stands transposed
#include <limits>
#include <tuple>

#include "core/ops/attention_dropout.hpp"
#include "core/ops/attention_tiles.hpp"

namespace minima {
namespace MINIMA_BACKEND::attention {
namespace {

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

}  // namespace
}  // namespace MINIMA_BACKEND::attention

namespace ops {

template <AnyGpu Gpu, class T>
void attention_gradients(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> dy, RowsAt<T> y,
                         const Widened<T>* log_sum, Widened<T>* dots, RowsAt<T> dq, RowsAt<T> dk,
                         RowsAt<T> dv) {
  using namespace MINIMA_BACKEND;
  using namespace MINIMA_BACKEND::attention;
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
  return std::tuple{&attention_gradients<MINIMA_BACKEND::Gpu, T>...};
}
[[gnu::used, maybe_unused]] const auto kWrittenOut = all<float, double, bf16, f16>();

}  // namespace
}  // namespace ops
}  // namespace minima
