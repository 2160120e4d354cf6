/// The softmax is formed as tiles of keys pass: Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
/// arXiv:2205.14135.
#include <limits>
#include <tuple>

#include "core/ops/attention_dropout.hpp"
#include "core/ops/attention_tiles.hpp"
#include "core/ops/row.hpp"

namespace minima {
namespace MINIMA_BACKEND::attention {
namespace {

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

}  // namespace
}  // namespace MINIMA_BACKEND::attention

namespace ops {

template <AnyGpu Gpu, class T>
void attention_forward(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> y, Widened<T>* log_sum) {
  using namespace MINIMA_BACKEND;
  using namespace MINIMA_BACKEND::attention;
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

namespace {

template <class... T>
constexpr auto all() {
  return std::tuple{&attention_forward<MINIMA_BACKEND::Gpu, T>...};
}
[[gnu::used, maybe_unused]] const auto kWrittenOut = all<float, double, bf16, f16>();

}  // namespace
}  // namespace ops
}  // namespace minima
