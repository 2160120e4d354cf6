#include "core/ops/attention.hpp"

#include <limits>
#include <utility>

#include "core/cuda/note_outside.hpp"
#include "core/math.hpp"
#include "core/ops/attention_heads.hpp"
#include "core/ops/operands.hpp"
#include "core/ops/row.hpp"
#include "core/ops/small_product.hpp"
#include "core/ops/together.hpp"
#include "core/ops/transpose.hpp"

namespace minima::ops {
namespace {

/// One text and head: which rows, and the first of its columns.
struct Task {
  i64 queries, keys;  ///< rows
  i64 query, key;     ///< the first of them
  i64 column;
  u64 example;
  i64 head;
};

template <class F>
void for_each_task(const AttentionRows& rows, i64 heads, i64 dim, const F& f) {
  const i64* query_offsets = rows.query_offsets.data<i64>();
  const i64* key_offsets = rows.key_offsets.data<i64>();
  const i64* example = rows.example_id.data<i64>();
  parallel_for(rows.example_id.size() * heads, [&](i64 i) {
    const i64 text = i / heads, head = i % heads;
    f(Task{query_offsets[text + 1] - query_offsets[text], key_offsets[text + 1] - key_offsets[text],
           query_offsets[text], key_offsets[text], head * (dim / heads),
           static_cast<u64>(example[text]), head});
  });
}

/// Rows of numbers in memory.
template <class T>
struct Matrix {
  explicit Matrix(const Columns& x)
      : at(const_cast<T*>(x.x.data<T>()) + x.first), stride(x.x.size(1)) {}
  T* operator()(i64 row, i64 column) const { return at + row * stride + column; }

  T* at;
  i64 stride;
};

/// Rows of P that are made at a time; a multiple of the rows of a product's block.
constexpr i64 kQueries = 48;

/// The length of a row of P: whole vectors.
i64 padded(i64 keys) { return (keys + 7) / 8 * 8; }

/// Scratch of the calling thread, cut into pieces one after another; it only grows.
template <class T>
class Scratch {
 public:
  explicit Scratch(i64 n) {
    static thread_local std::vector<T> buffer;
    if (static_cast<i64>(buffer.size()) < n) buffer.resize(static_cast<std::size_t>(n));
    next_ = buffer.data();
  }
  T* take(i64 n) { return std::exchange(next_, next_ + n); }

 private:
  T* next_;
};

/// The dropout mask of one query row of one head.
MINIMA_HD DropoutRow mask_of(const DropoutSite& site, const Task& task, i64 query_position) {
  return head_mask(site, task.head, task.example, query_position);
}

/// to [columns, ld] ← the transpose of from [rows, columns], with zeros behind each row.
template <class T>
void padded_transpose(i64 rows, i64 columns, const T* from, i64 from_ld, T* to, i64 ld) {
  vectorize([&]() MINIMA_INLINE {
    transpose(rows, columns, from, from_ld, to, ld);
    for (i64 j = 0; j < columns; ++j)
      for (i64 i = rows; i < ld; ++i) to[j * ld + i] = 0;
  });
}

/// row ← exp(row − from), divided by its sum, which is returned.
template <class T>
MINIMA_HD T normalized_exp(T* row, i64 n, T from) {
  for (i64 i = 0; i < n; ++i) row[i] = math::exp(row[i] - from);
  const T sum = row_sum_as<T>(n, [&](i64 i) MINIMA_INLINE { return row[i]; });
  const T inverse = 1 / sum;
  for (i64 i = 0; i < n; ++i) row[i] *= inverse;
  return sum;
}

/// row ← softmax(row); returns ln Σ exp(row).
template <class T>
MINIMA_HD T softmax_row(T* row, i64 n) {
  const T largest = row_max(n, row);
  return largest + std::log(normalized_exp(row, n, largest));
}

void check_offsets(Cpu, const AttentionRows& rows, i64 query_rows, i64 key_rows) {
  const i64 texts = rows.example_id.size();
  for (const auto& [offsets, total] :
       {std::pair{&rows.query_offsets, query_rows}, std::pair{&rows.key_offsets, key_rows}}) {
    const i64* at = offsets->data<i64>();
    check(at[0] == 0 && at[texts] == total && std::is_sorted(at, at + texts + 1),
          "attention: offsets must rise from 0 to the {} rows", total);
  }
  const i64* queries = rows.query_offsets.data<i64>();
  const i64* keys = rows.key_offsets.data<i64>();
  for (i64 text = 0; text < texts; ++text)
    check(keys[text + 1] > keys[text] || queries[text + 1] == queries[text],
          "attention: text {} has queries but no keys", text);
}
template <AnyGpu Gpu>
void check_offsets(Gpu gpu, const AttentionRows& rows, i64 query_rows, i64 key_rows) {
  const Tensor &queries = rows.query_offsets, &keys = rows.key_offsets;
  note_offsets(gpu, "attention", queries.size(), queries.data<i64>(), query_rows);
  note_offsets(gpu, "attention", keys.size(), keys.data<i64>(), key_rows);
}

void check_arguments(const Columns& q, const Columns& k, const Columns& v,
                     const AttentionRows& rows, i64 heads, const DropoutSite& dropout) {
  check(dropout.rate >= 0 && dropout.rate < 1,
        "attention: dropout rate {} must be at least 0 and below 1", dropout.rate);
  check(q.x.rank() == 2 && k.x.rank() == 2 && v.shape() == k.shape() && q.width == k.width,
        "attention: q is {}, k {}, v {}; all must be [rows, dim] of the same dim", q.shape(),
        k.shape(), v.shape());
  check(heads > 0 && q.width > 0 && q.width % heads == 0,
        "attention: {} heads do not divide dim {}", heads, q.width);
  check_together("attention", q.x, k.x, v.x, rows.query_offsets, rows.query_positions,
                 rows.key_offsets, rows.example_id);
  check_one_type("attention", {q.x.dtype(), k.x.dtype(), v.x.dtype()});
  check_i64("attention", "query offsets", rows.query_offsets);
  check_i64("attention", "query positions", rows.query_positions);
  check_i64("attention", "key offsets", rows.key_offsets);
  check_i64("attention", "example ids", rows.example_id);
  for (const Tensor* offsets : {&rows.query_offsets, &rows.key_offsets})
    check(offsets->size() == rows.example_id.size() + 1,
          "attention: {} offsets for {} texts; there must be one more", offsets->size(),
          rows.example_id.size());
  check(rows.query_positions.size() == q.x.size(0), "attention: {} query positions for {} queries",
        rows.query_positions.size(), q.x.size(0));
}

template <class T>
void forward(Cpu, const Columns& q, const Columns& k, const Columns& v, const AttentionRows& rows,
             i64 heads, const DropoutSite& dropout, AttentionResult& result) {
  const i64 dim = q.width, head_dim = dim / heads, query_rows = q.x.size(0);
  const i64* positions = rows.query_positions.data<i64>();
  const Matrix<T> Q(q), K(k), V(v), Y{Columns(result.y)};
  T* log_sum = result.log_sum.data<T>();
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(head_dim)));
  for_each_task(rows, heads, dim, [&](const Task& task) {
    const i64 n = padded(task.keys), column = task.column;
    Scratch<T> scratch((head_dim + kQueries) * n);
    T *k_transposed = scratch.take(head_dim * n), *p = scratch.take(kQueries * n);
    padded_transpose(task.keys, head_dim, K(task.key, column), K.stride, k_transposed, n);
    for (i64 query = task.query; query < task.query + task.queries; query += kQueries) {
      const i64 m = std::min(kQueries, task.query + task.queries - query);
      small_product<T>(m, n, head_dim, scale, {Q(query, column), Q.stride, 1}, k_transposed, n, p,
                       n);
      vectorize([&]() MINIMA_INLINE {
        for (i64 i = 0; i < m; ++i) {
          T* const row = p + i * n;
          for (i64 j = task.keys; j < n; ++j) row[j] = -std::numeric_limits<T>::infinity();
          log_sum[task.head * query_rows + query + i] = softmax_row(row, n);
          if (dropout.rate > 0)
            mask_of(dropout, task, positions[query + i]).apply(row, row, task.keys);
        }
      });
      small_product<T>(m, head_dim, task.keys, 1, {p, n, 1}, V(task.key, column), V.stride,
                       Y(query, column), Y.stride);
    }
  });
}
template <class T, AnyGpu Gpu>
void forward(Gpu gpu, const Columns& q, const Columns& k, const Columns& v,
             const AttentionRows& rows, i64 heads, const DropoutSite& dropout,
             AttentionResult& result) {
  attention_forward(gpu, AttentionHeads<T>(q, k, v, rows, heads, dropout), RowsAt<T>(result.y),
                    result.log_sum.data<Widened<T>>());
}

template <class T>
void backward(Cpu, const Tensor& dy, const Columns& q, const Columns& k, const Columns& v,
              const AttentionResult& result, const AttentionRows& rows, i64 heads,
              const DropoutSite& dropout, const Columns& dq, const Columns& dk, const Columns& dv) {
  const i64 dim = q.width, head_dim = dim / heads, query_rows = q.x.size(0);
  const i64* positions = rows.query_positions.data<i64>();
  const Matrix<T> Q(q), K(k), V(v), dY{Columns(dy)}, dQ(dq), dK(dk), dV(dv);
  const T* sums = result.log_sum.data<T>();
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(head_dim)));
  for_each_task(rows, heads, dim, [&](const Task& task) {
    const i64 n = padded(task.keys), column = task.column;
    Scratch<T> scratch((2 * head_dim + 3 * kQueries) * n);
    T *k_transposed = scratch.take(head_dim * n), *v_transposed = scratch.take(head_dim * n);
    T *p = scratch.take(kQueries * n), *dp = scratch.take(kQueries * n);
    T* const dropped = dropout.rate > 0 ? scratch.take(kQueries * n) : p;  // P after dropout
    padded_transpose(task.keys, head_dim, K(task.key, column), K.stride, k_transposed, n);
    padded_transpose(task.keys, head_dim, V(task.key, column), V.stride, v_transposed, n);
    for (i64 query = task.query; query < task.query + task.queries; query += kQueries) {
      const i64 m = std::min(kQueries, task.query + task.queries - query);
      const Store store = query == task.query ? Store::overwrite : Store::add;
      small_product<T>(m, n, head_dim, scale, {Q(query, column), Q.stride, 1}, k_transposed, n, p,
                       n);
      small_product<T>(m, n, head_dim, 1, {dY(query, column), dY.stride, 1}, v_transposed, n, dp,
                       n);
      vectorize([&]() MINIMA_INLINE {
        for (i64 i = 0; i < m; ++i) {
          T *const row = p + i * n, *const gradient = dp + i * n;
          for (i64 j = task.keys; j < n; ++j) row[j] = -std::numeric_limits<T>::infinity();
          // Divided by its sum, which is 1 but for log_sum's rounding; that grows with the scores, and the mean would
          // leave some of what all of dP have in common.
          normalized_exp(row, n, sums[task.head * query_rows + query + i]);
          if (dropout.rate > 0) {
            const DropoutRow mask = mask_of(dropout, task, positions[query + i]);
            mask.apply(row, dropped + i * n, task.keys);
            mask.apply(gradient, gradient, task.keys);
          }
          const T mean =
              row_sum_as<T>(n, [&](i64 j) MINIMA_INLINE { return gradient[j] * row[j]; });
          for (i64 j = 0; j < n; ++j) gradient[j] = row[j] * (gradient[j] - mean);
        }
      });
      small_product<T>(task.keys, head_dim, m, 1, {dropped, 1, n}, dY(query, column), dY.stride,
                       dV(task.key, column), dV.stride, store);
      small_product<T>(m, head_dim, task.keys, scale, {dp, n, 1}, K(task.key, column), K.stride,
                       dQ(query, column), dQ.stride);
      small_product<T>(task.keys, head_dim, m, scale, {dp, 1, n}, Q(query, column), Q.stride,
                       dK(task.key, column), dK.stride, store);
    }
    if (task.queries == 0)
      for (i64 key = task.key; key < task.key + task.keys; ++key) {
        std::fill_n(dK(key, column), head_dim, T{0});
        std::fill_n(dV(key, column), head_dim, T{0});
      }
  });
}
template <class T, AnyGpu Gpu>
void backward(Gpu gpu, const Tensor& dy, const Columns& q, const Columns& k, const Columns& v,
              const AttentionResult& result, const AttentionRows& rows, i64 heads,
              const DropoutSite& dropout, const Columns& dq, const Columns& dk, const Columns& dv) {
  using R = Widened<T>;
  Tensor dots = Tensor::empty_like(result.log_sum);
  attention_gradients(gpu, AttentionHeads<T>(q, k, v, rows, heads, dropout), RowsAt<T>{Columns(dy)},
                      RowsAt<T>{Columns(result.y)}, result.log_sum.data<R>(), dots.data<R>(),
                      RowsAt<T>(dq), RowsAt<T>(dk), RowsAt<T>(dv));
}

}  // namespace

Tensor attention_operand(const Tensor& x) {
  const bool widen = x.defined() && x.device() == Device{};
  return widen ? x.to(widened(x.dtype())) : x;
}

AttentionResult attention(const Columns& q, const Columns& k, const Columns& v,
                          const AttentionRows& rows, i64 heads, const DropoutSite& dropout) {
  check_arguments(q, k, v, rows, heads, dropout);
  const i64 dim = q.width, query_rows = q.x.size(0);
  AttentionResult result{Tensor::empty({query_rows, dim}, q.x.dtype(), q.x.device()),
                         product_of(q.x, {heads, query_rows})};
  visit_operands("attention", q.x, [&](auto device, auto zero) {
    check_offsets(device, rows, query_rows, k.x.size(0));
    forward<decltype(zero)>(device, q, k, v, rows, heads, dropout, result);
  });
  return result;
}

AttentionGradients attention_backward(const Tensor& dy, const Columns& q, const Columns& k,
                                      const Columns& v, const AttentionResult& result,
                                      const AttentionRows& rows, i64 heads,
                                      const DropoutSite& dropout) {
  const auto like = [](const Columns& x) {
    return Tensor::empty(x.shape(), x.x.dtype(), x.x.device());
  };
  AttentionGradients grads{like(q), like(k), like(v)};
  attention_backward(dy, q, k, v, result, rows, heads, dropout, grads.dq, grads.dk, grads.dv);
  return grads;
}

void attention_backward(const Tensor& dy, const Columns& q, const Columns& k, const Columns& v,
                        const AttentionResult& result, const AttentionRows& rows, i64 heads,
                        const DropoutSite& dropout, Columns dq, Columns dk, Columns dv) {
  check_arguments(q, k, v, rows, heads, dropout);
  check_gradient("attention", dy, result.y.shape());
  check(
      result.y.shape() == q.shape() && result.log_sum.shape() == Shape{heads, q.x.size(0)},
      "attention: q is {}, the result {}, its {} heads' sums {}; they must be those of the forward",
      q.shape(), result.y.shape(), heads, result.log_sum.shape());
  for (const auto& [room, operand] : {std::pair(&dq, &q), {&dk, &k}, {&dv, &v}})
    check(room->x.size(0) == operand->x.size(0) && room->width == operand->width,
          "attention: {} is given room of {} for its gradient", operand->shape(), room->shape());
  check_together("attention", q.x, dy, result.y, result.log_sum, dq.x, dk.x, dv.x);
  visit_operands("attention", q.x, [&](auto device, auto zero) {
    backward<decltype(zero)>(device, dy, q, k, v, result, rows, heads, dropout, dq, dk, dv);
  });
}

}  // namespace minima::ops
