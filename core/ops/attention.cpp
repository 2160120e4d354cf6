#include "core/ops/attention.hpp"

#include <limits>
#include <utility>

#include "core/cpu/simd.hpp"
#include "core/math.hpp"
#include "core/ops/row.hpp"
#include "core/ops/small_product.hpp"

namespace minima::ops {
namespace {

/// One text and head: where its rows are and how many.
struct Task {
  i64 queries, keys;     ///< rows
  i64 query_at, key_at;  ///< first element of the head in q, dq, y and in k, v
  i64 query_row;         ///< first row of the text's queries
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
    const i64 column = head * (dim / heads);
    const i64 queries = query_offsets[text + 1] - query_offsets[text];
    const i64 keys = key_offsets[text + 1] - key_offsets[text];
    f(Task{queries, keys, query_offsets[text] * dim + column, key_offsets[text] * dim + column,
           query_offsets[text], static_cast<u64>(example[text]), head});
  });
}

constexpr i64 kQueries = 48;  // rows of P that are made at a time; a multiple of the product's six

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

/// The dropout mask of one query row of one head; heads have keys of their own.
MINIMA_HD DropoutRow mask_of(const DropoutSite& site, const Task& task, i64 query_position) {
  return {site.key + static_cast<u64>(task.head + 1) * 0x9E3779B97F4A7C15u,
          static_cast<u64>(query_position),
          task.example,
          static_cast<u64>(site.step),
          DropoutRow::threshold_of(site.rate),
          static_cast<float>(1 / (1 - site.rate))};
}

/// to [columns, ld] ← the transpose of from [rows, columns], with zeros behind each row.
template <class T>
void transpose(i64 rows, i64 columns, const T* from, i64 from_ld, T* to, i64 ld) {
  vectorize([&]() MINIMA_INLINE {
    for (i64 i = 0; i < rows; ++i)
      for (i64 j = 0; j < columns; ++j) to[j * ld + i] = from[i * from_ld + j];
    for (i64 j = 0; j < columns; ++j)
      for (i64 i = rows; i < ld; ++i) to[j * ld + i] = 0;
  });
}

/// row ← exp(row − max); returns ln Σ exp(row) with the row's own maximum taken out, and leaves the
/// row normalized.
template <class T>
MINIMA_HD T softmax_row(T* row, i64 n) {
  const T largest = row_max(n, row);
  for (i64 i = 0; i < n; ++i) row[i] = math::exp(row[i] - largest);
  const T sum = row_sum_as<T>(n, [&](i64 i) MINIMA_INLINE { return row[i]; });
  const T inverse = 1 / sum;
  for (i64 i = 0; i < n; ++i) row[i] *= inverse;
  return largest + std::log(sum);
}

void check_arguments(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionRows& rows,
                     i64 heads, const DropoutSite& dropout) {
  check(dropout.rate >= 0 && dropout.rate < 1,
        "attention: dropout rate {} must be at least 0 and below 1", dropout.rate);
  check(q.rank() == 2 && k.rank() == 2 && v.shape() == k.shape() && q.size(1) == k.size(1),
        "attention: q is {}, k {}, v {}; all must be [rows, dim] of the same dim", q.shape(),
        k.shape(), v.shape());
  check(heads > 0 && q.size(1) % heads == 0, "attention: {} heads do not divide dim {}", heads,
        q.size(1));
  const i64 texts = rows.example_id.size();
  for (const auto& [offsets, total] :
       {std::pair{&rows.query_offsets, q.size(0)}, std::pair{&rows.key_offsets, k.size(0)}}) {
    check(offsets->size() == texts + 1,
          "attention: {} offsets for {} texts; there must be one more", offsets->size(), texts);
    const i64* at = offsets->data<i64>();
    check(at[0] == 0 && at[texts] == total && std::is_sorted(at, at + texts + 1),
          "attention: offsets must rise from 0 to the {} rows", total);
  }
  const i64* queries = rows.query_offsets.data<i64>();
  const i64* keys = rows.key_offsets.data<i64>();
  for (i64 text = 0; text < texts; ++text)
    check(keys[text + 1] > keys[text] || queries[text + 1] == queries[text],
          "attention: text {} has queries but no keys", text);
  check(rows.query_positions.size() == q.size(0), "attention: {} query positions for {} queries",
        rows.query_positions.size(), q.size(0));
}

}  // namespace

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v,
                          const AttentionRows& rows, i64 heads, const DropoutSite& dropout) {
  check_arguments(q, k, v, rows, heads, dropout);
  const i64 dim = q.size(1), head_dim = dim / heads, query_rows = q.size(0);
  AttentionResult result{Tensor::empty_like(q),
                         Tensor::empty({heads, query_rows}, q.dtype(), q.device())};
  const i64* positions = rows.query_positions.data<i64>();
  visit_real("attention", q.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *qs = q.data<T>(), *ks = k.data<T>(), *vs = v.data<T>();
    T *y = result.y.data<T>(), *log_sum = result.log_sum.data<T>();
    const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(head_dim)));
    for_each_task(rows, heads, dim, [&](const Task& task) {
      const i64 n = padded(task.keys);
      Scratch<T> scratch((head_dim + kQueries) * n);
      T *k_transposed = scratch.take(head_dim * n), *p = scratch.take(kQueries * n);
      transpose(task.keys, head_dim, ks + task.key_at, dim, k_transposed, n);
      for (i64 first = 0; first < task.queries; first += kQueries) {
        const i64 m = std::min(kQueries, task.queries - first), at = task.query_at + first * dim;
        small_product<T>(m, n, head_dim, scale, {qs + at, dim, 1}, k_transposed, n, p, n);
        vectorize([&]() MINIMA_INLINE {
          for (i64 i = 0; i < m; ++i) {
            T* const row = p + i * n;
            const i64 query = task.query_row + first + i;
            for (i64 j = task.keys; j < n; ++j) row[j] = -std::numeric_limits<T>::infinity();
            log_sum[task.head * query_rows + query] = softmax_row(row, n);
            if (dropout.rate > 0)
              mask_of(dropout, task, positions[query]).apply(row, row, task.keys);
          }
        });
        small_product<T>(m, head_dim, task.keys, 1, {p, n, 1}, vs + task.key_at, dim, y + at, dim);
      }
    });
  });
  return result;
}

AttentionGradients attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k,
                                      const Tensor& v, const Tensor& log_sum,
                                      const AttentionRows& rows, i64 heads,
                                      const DropoutSite& dropout) {
  const i64 dim = q.size(1), head_dim = dim / heads, query_rows = q.size(0);
  AttentionGradients result{Tensor::empty_like(q), Tensor::empty_like(k), Tensor::empty_like(v)};
  const i64* positions = rows.query_positions.data<i64>();
  visit_real("attention", q.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *dys = dy.data<T>(), *qs = q.data<T>(), *ks = k.data<T>(), *vs = v.data<T>(),
            *sums = log_sum.data<T>();
    T *dq = result.dq.data<T>(), *dk = result.dk.data<T>(), *dv = result.dv.data<T>();
    const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(head_dim)));
    for_each_task(rows, heads, dim, [&](const Task& task) {
      const i64 n = padded(task.keys);
      Scratch<T> scratch((2 * head_dim + 3 * kQueries) * n);
      T *k_transposed = scratch.take(head_dim * n), *v_transposed = scratch.take(head_dim * n);
      T *p = scratch.take(kQueries * n), *dp = scratch.take(kQueries * n);
      T* const dropped = dropout.rate > 0 ? scratch.take(kQueries * n) : p;  // P after dropout
      const T *keys = ks + task.key_at, *values = vs + task.key_at;
      transpose(task.keys, head_dim, keys, dim, k_transposed, n);
      transpose(task.keys, head_dim, values, dim, v_transposed, n);
      for (i64 first = 0; first < task.queries; first += kQueries) {
        const i64 m = std::min(kQueries, task.queries - first), at = task.query_at + first * dim;
        const Store store = first == 0 ? Store::overwrite : Store::add;
        small_product<T>(m, n, head_dim, scale, {qs + at, dim, 1}, k_transposed, n, p, n);
        small_product<T>(m, n, head_dim, 1, {dys + at, dim, 1}, v_transposed, n, dp, n);
        vectorize([&]() MINIMA_INLINE {
          for (i64 i = 0; i < m; ++i) {
            T *const row = p + i * n, *const gradient = dp + i * n;
            const i64 query = task.query_row + first + i;
            const T log_denominator = sums[task.head * query_rows + query];
            for (i64 j = 0; j < n; ++j) row[j] = math::exp(row[j] - log_denominator);
            for (i64 j = task.keys; j < n; ++j) row[j] = 0;
            if (dropout.rate > 0) {
              const DropoutRow mask = mask_of(dropout, task, positions[query]);
              mask.apply(row, dropped + i * n, task.keys);
              mask.apply(gradient, gradient, task.keys);
            }
            const T dot =
                row_sum_as<T>(n, [&](i64 j) MINIMA_INLINE { return gradient[j] * row[j]; });
            for (i64 j = 0; j < n; ++j) gradient[j] = row[j] * (gradient[j] - dot);
          }
        });
        small_product<T>(task.keys, head_dim, m, 1, {dropped, 1, n}, dys + at, dim,
                         dv + task.key_at, dim, store);
        small_product<T>(m, head_dim, task.keys, scale, {dp, n, 1}, keys, dim, dq + at, dim);
        small_product<T>(task.keys, head_dim, m, scale, {dp, 1, n}, qs + at, dim, dk + task.key_at,
                         dim, store);
      }
      if (task.queries == 0)
        for (i64 i = 0; i < task.keys; ++i) {
          std::fill_n(dk + task.key_at + i * dim, head_dim, T{0});
          std::fill_n(dv + task.key_at + i * dim, head_dim, T{0});
        }
    });
  });
  return result;
}

}  // namespace minima::ops
