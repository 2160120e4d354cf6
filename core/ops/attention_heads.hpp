/// Attention (core/ops/attention.hpp) as a GPU sees it (core/ops/attention_tiles.hpp).
#pragma once

#include <cmath>

#include "core/device.hpp"
#include "core/ops/attention.hpp"
#include "core/ops/dropout_rows.hpp"
#include "core/ops/operands.hpp"

namespace minima::ops {

/// The dropout mask of one query row of one head; heads have keys of their own.
MINIMA_HD DropoutRow head_mask(const DropoutSite& site, i64 head, u64 example, i64 query_position) {
  return {site.key + static_cast<u64>(head + 1) * 0x9E3779B97F4A7C15u,
          static_cast<u64>(query_position),
          example,
          static_cast<u64>(site.step_now()),
          DropoutRow::threshold_of(site.rate),
          DropoutRow::scale_of(site.rate)};
}

/// Rows of numbers: element (row, column) is at[row · stride + column].
template <class T>
struct RowsAt {
  T* at = nullptr;
  i64 stride = 0;

  RowsAt() = default;
  explicit RowsAt(const Columns& x)
      : at(const_cast<T*>(x.x.data<T>()) + x.first), stride(x.x.size(1)) {}
  MINIMA_HD T* row(i64 i, i64 column) const { return at + i * stride + column; }
};

/// T: of queries, keys and values.
template <class T>
struct AttentionHeads {
  RowsAt<T> q, k, v;
  const i64 *query_offsets, *query_positions, *key_offsets, *example_id;
  i64 texts, heads, head_dim, query_rows, key_rows;
  Widened<T> scale;
  DropoutSite dropout;
  Widened<T> kept_scale;

  AttentionHeads(const Columns& q, const Columns& k, const Columns& v, const AttentionRows& rows,
                 i64 heads, const DropoutSite& dropout)
      : q(q),
        k(k),
        v(v),
        query_offsets(rows.query_offsets.data<i64>()),
        query_positions(rows.query_positions.data<i64>()),
        key_offsets(rows.key_offsets.data<i64>()),
        example_id(rows.example_id.data<i64>()),
        texts(rows.example_id.size()),
        heads(heads),
        head_dim(q.width / heads),
        query_rows(q.x.size(0)),
        key_rows(k.x.size(0)),
        scale(static_cast<Widened<T>>(1 / std::sqrt(static_cast<double>(head_dim)))),
        dropout(dropout),
        kept_scale(static_cast<Widened<T>>(DropoutRow::scale_of(dropout.rate))) {}
};

template <AnyGpu Gpu, class T>
void attention_forward(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> y, Widened<T>* log_sum);
/// `dots` [heads, query rows] is scratch.
template <AnyGpu Gpu, class T>
void attention_gradients(Gpu gpu, const AttentionHeads<T>& x, RowsAt<T> dy, RowsAt<T> y,
                         const Widened<T>* log_sum, Widened<T>* dots, RowsAt<T> dq, RowsAt<T> dk,
                         RowsAt<T> dv);

}  // namespace minima::ops
