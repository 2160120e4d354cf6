/// Packed attention on a GPU, simple and exact: a block takes one text and head, a warp one query (or, for dk and dv, one
/// key) at a time. Its lanes first take a key (a query) each, for the weights; then a column each, for the sums.
#include <tuple>

#include "core/cuda/block.hpp"
#include "core/math.hpp"
#include "core/ops/attention_heads.hpp"
#include "core/ops/row.hpp"

namespace minima::ops {
namespace {

using namespace MINIMA_BACKEND;

constexpr unsigned kWarps = kThreads / 32;
constexpr int kColumns = 4;  ///< that a lane sums up at a time: c, c + 32, …

/// One text and head: which rows, and the first of its columns.
template <class T>
struct Task {
  i64 head, column, query, queries, key, keys;
  u64 example;

  __device__ explicit Task(const AttentionHeads<T>& x) {
    const i64 text = blockIdx.x / x.heads;
    head = blockIdx.x % x.heads;
    column = head * x.head_dim;
    query = within(x.query_offsets[text], x.query_rows);
    queries = within(x.query_offsets[text + 1], x.query_rows) - query;
    key = within(x.key_offsets[text], x.key_rows);
    keys = within(x.key_offsets[text + 1], x.key_rows) - key;
    example = static_cast<u64>(x.example_id[text]);
  }
};

template <class T>
__device__ T dot(i64 n, const T* a, const T* b) {
  T sum = 0;
  for (i64 i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// sums[r] += weights[t] · from(t)[column c + 32 r], t < n, for the lane's columns.
template <class T>
__device__ void add_weighted(i64 n, const T* weights, RowsAt<T> from, i64 row, i64 column, i64 c,
                             i64 head_dim, T* sums) {
  for (i64 t = 0; t < n; ++t)
    for (int r = 0; r < kColumns; ++r)
      if (c + 32 * r < head_dim) sums[r] += weights[t] * *from.row(row + t, column + c + 32 * r);
}

template <class T>
__device__ void store(const T* sums, T scale, T* to, i64 c, i64 head_dim) {
  for (int r = 0; r < kColumns; ++r)
    if (c + 32 * r < head_dim) to[c + 32 * r] = scale * sums[r];
}

/// P = softmax(q kᵀ · scale), row by row: first the denominator, then y = dropout(P) v in tiles of 32 keys.
template <class T>
__global__ void forward_kernel(AttentionHeads<T> x, RowsAt<T> y, T* log_sum) {
  __shared__ T weights[kWarps][32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Task<T> task(x);
  for (i64 i = warp; i < task.queries; i += kWarps) {
    const T* const q = x.q.row(task.query + i, task.column);
    const auto score = [&](i64 j) {
      return x.scale *
             dot(x.head_dim, q, static_cast<const T*>(x.k.row(task.key + j, task.column)));
    };
    T largest = -std::numeric_limits<T>::infinity(), sum = 0;
    for (i64 j = lane; j < task.keys; j += 32) {
      const T s = score(j), before = largest;
      largest = Larger{}(largest, s);
      sum = sum * math::exp(before - largest) + math::exp(s - largest);
    }
    const T of_all = warp_fold(largest, Larger{});
    const T denominator = warp_fold(sum * math::exp(largest - of_all), Sum{});
    const T log_denominator = of_all + std::log(denominator);
    if (lane == 0) log_sum[task.head * x.query_rows + task.query + i] = log_denominator;

    const DropoutRow mask =
        head_mask(x.dropout, task.head, task.example, x.query_positions[task.query + i]);
    for (i64 first = 0; first < x.head_dim; first += 32 * kColumns) {
      T sums[kColumns] = {};
      for (i64 tile = 0; tile < task.keys; tile += 32) {
        const i64 j = tile + lane;
        T p = j < task.keys ? math::exp(score(j) - log_denominator) : T(0);
        if (x.dropout.rate > 0) p = mask.keeps(j) ? p * static_cast<T>(mask.scale) : T(0);
        weights[warp][lane] = p;
        __syncwarp();
        const i64 n = task.keys - tile < 32 ? task.keys - tile : 32;
        add_weighted(n, weights[warp], x.v, task.key + tile, task.column, first + lane, x.head_dim,
                     sums);
        __syncwarp();
      }
      store(sums, T(1), y.row(task.query + i, task.column), first + lane, x.head_dim);
    }
  }
}

/// What backward needs of one pair of a query and a key.
template <class T>
struct Pair {
  T p, dropped, dp;  ///< P, dropout(P), and dP: the gradient of P

  __device__ Pair(const AttentionHeads<T>& x, const Task<T>& task, const RowsAt<T>& dy,
                  const T* log_sum, i64 i, i64 j) {
    const i64 query = task.query + i, key = task.key + j;
    const T* const q = x.q.row(query, task.column);
    const T* const k = x.k.row(key, task.column);
    const T* const v = x.v.row(key, task.column);
    const T* const g = dy.row(query, task.column);
    p = math::exp(x.scale * dot(x.head_dim, q, k) - log_sum[task.head * x.query_rows + query]);
    dropped = p;
    dp = dot(x.head_dim, g, v);
    if (x.dropout.rate == 0) return;
    const DropoutRow mask = head_mask(x.dropout, task.head, task.example, x.query_positions[query]);
    const bool kept = mask.keeps(j);
    dropped = kept ? p * static_cast<T>(mask.scale) : T(0);
    dp = kept ? dp * static_cast<T>(mask.scale) : T(0);
  }
};

/// dots = rowsum(dP ⊙ P), dS = P ⊙ (dP − dots), dq = dS k · scale.
template <class T>
__global__ void query_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, const T* log_sum, T* dots,
                                      RowsAt<T> dq) {
  __shared__ T weights[kWarps][32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Task<T> task(x);
  for (i64 i = warp; i < task.queries; i += kWarps) {
    T sum = 0;
    for (i64 j = lane; j < task.keys; j += 32) {
      const Pair<T> pair(x, task, dy, log_sum, i, j);
      sum += pair.dp * pair.p;
    }
    const T row_dot = warp_fold(sum, Sum{});
    if (lane == 0) dots[task.head * x.query_rows + task.query + i] = row_dot;
    for (i64 first = 0; first < x.head_dim; first += 32 * kColumns) {
      T sums[kColumns] = {};
      for (i64 tile = 0; tile < task.keys; tile += 32) {
        const i64 j = tile + lane;
        T ds = 0;
        if (j < task.keys) {
          const Pair<T> pair(x, task, dy, log_sum, i, j);
          ds = pair.p * (pair.dp - row_dot);
        }
        weights[warp][lane] = ds;
        __syncwarp();
        const i64 n = task.keys - tile < 32 ? task.keys - tile : 32;
        add_weighted(n, weights[warp], x.k, task.key + tile, task.column, first + lane, x.head_dim,
                     sums);
        __syncwarp();
      }
      store(sums, x.scale, dq.row(task.query + i, task.column), first + lane, x.head_dim);
    }
  }
}

/// dv = dropout(P)ᵀ dy, dk = dSᵀ q · scale: a warp sums up the queries of one key, in order.
template <class T>
__global__ void key_gradient_kernel(AttentionHeads<T> x, RowsAt<T> dy, const T* log_sum,
                                    const T* dots, RowsAt<T> dk, RowsAt<T> dv) {
  __shared__ T of_values[kWarps][32], of_keys[kWarps][32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Task<T> task(x);
  for (i64 j = warp; j < task.keys; j += kWarps) {
    for (i64 first = 0; first < x.head_dim; first += 32 * kColumns) {
      T value_sums[kColumns] = {}, key_sums[kColumns] = {};
      for (i64 tile = 0; tile < task.queries; tile += 32) {
        const i64 i = tile + lane;
        T dropped = 0, ds = 0;
        if (i < task.queries) {
          const Pair<T> pair(x, task, dy, log_sum, i, j);
          dropped = pair.dropped;
          ds = pair.p * (pair.dp - dots[task.head * x.query_rows + task.query + i]);
        }
        of_values[warp][lane] = dropped;
        of_keys[warp][lane] = ds;
        __syncwarp();
        const i64 n = task.queries - tile < 32 ? task.queries - tile : 32;
        add_weighted(n, of_values[warp], dy, task.query + tile, task.column, first + lane,
                     x.head_dim, value_sums);
        add_weighted(n, of_keys[warp], x.q, task.query + tile, task.column, first + lane,
                     x.head_dim, key_sums);
        __syncwarp();
      }
      store(value_sums, T(1), dv.row(task.key + j, task.column), first + lane, x.head_dim);
      store(key_sums, x.scale, dk.row(task.key + j, task.column), first + lane, x.head_dim);
    }
  }
}

}  // namespace

template <AnyGpu Gpu, class T>
void attention_forward(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> y, T* log_sum) {
  launch(gpu, forward_kernel<T>, x.texts * x.heads, kThreads, 0, x, y, log_sum);
}

template <AnyGpu Gpu, class T>
void attention_gradients(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> dy, const T* log_sum,
                         T* dots, RowsAt<T> dq, RowsAt<T> dk, RowsAt<T> dv) {
  const i64 blocks = x.texts * x.heads;
  launch(gpu, query_gradient_kernel<T>, blocks, kThreads, 0, x, dy, log_sum, dots, dq);
  launch(gpu, key_gradient_kernel<T>, blocks, kThreads, 0, x, dy, log_sum,
         static_cast<const T*>(dots), dk, dv);
}

namespace {

template <class T>
constexpr auto both() {
  return std::tuple{&attention_forward<MINIMA_BACKEND::Gpu, T>,
                    &attention_gradients<MINIMA_BACKEND::Gpu, T>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut = std::tuple{both<float>(), both<double>()};

}  // namespace
}  // namespace minima::ops
