/// Scaled dot-product attention over packed texts, several heads.   Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
///
///     P = softmax(q kᵀ / √head_dim)                 for each text and head on its own
///     y = dropout(P) v
///
/// Heads lie side by side in a row: head h of a row of `dim` numbers is [h·dim/heads,
/// (h+1)·dim/heads). Queries and keys may be different rows: the last layer of a classifier asks
/// for one query per text. One text and head is one task; it keeps one number per query row (the
/// log of the softmax's denominator) and recomputes P in backward, which on a GPU takes y as well, so
/// no matrix of attention weights outlives its task. A GPU takes a task in tiles (core/ops/attention_tiles.hpp).
///
/// On a GPU q, k, v and dy may be bf16 or f16, like y and the gradients then, with sums and log_sum in f32. Its units for
/// such products take both operands so: dropout(P) and dS are rounded there as well, by at most u, which
/// is 2⁻⁸ for bf16 and 2⁻¹¹ for f16. So y is within u dropout(P) |v|, the gradients within the like; as
/// errors of either sign add up, within 1 % (bf16) and 0.15 % (f16) of the largest in the tests. In f16,
/// dy vᵀ must stay below 65504, as a loss scale sees to. There rowsum(dP ⊙ P) is formed as rowsum(dy ⊙ y), of y as it is
/// stored: it is off by up to u |dy| |y|, which adds as much times P |k| to dq, and times P |q| to dk.
///
/// P in backward is exp(score − log_sum), off by log_sum's rounding, up to 2⁻²⁴ |log_sum|; the CPU divides each row by its
/// sum as well.
///
/// With AllowTf32 (core/ops/matmul.hpp) a GPU rounds the operands of these products too, to ten bits behind the leading one.
#pragma once

#include "core/ops/dropout.hpp"
#include "core/tensor.hpp"

namespace minima::ops {

/// Which rows belong to which text, for B texts.
struct AttentionRows {
  Tensor query_offsets;    ///< [B+1] i64
  Tensor query_positions;  ///< [query rows] i64, each query's position in its text; for dropout
  Tensor key_offsets;      ///< [B+1] i64
  Tensor example_id;       ///< [B] i64
};

/// Some columns of a tensor of rows: queries, keys and values may come side by side out of one
/// product.
struct Columns {
  Columns(const Tensor& x) : Columns(x, 0, x.rank() ? x.size(-1) : 0) {}
  /// Throws Error for columns that x does not have.
  Columns(Tensor all, i64 first, i64 width) : x(std::move(all)), first(first), width(width) {
    check(0 <= first && 0 <= width && width <= (x.rank() ? x.size(-1) : 0) - first,
          "attention: {} columns from {} on do not lie in {}", width, first, x.shape());
  }
  Shape shape() const { return x.rank() == 2 ? Shape{x.size(0), width} : x.shape(); }

  Tensor x;  ///< [rows, ≥ first + width]
  i64 first, width;
};

struct AttentionResult {
  Tensor y;        ///< [query rows, dim]
  Tensor log_sum;  ///< [heads, query rows]: ln Σ exp(score)
};

/// x as attention takes it where it lies: on the CPU numbers of two bytes are widened.
Tensor attention_operand(const Tensor& x);

/// q [query rows, dim]   k, v [key rows, dim].   Throws Error when sizes, offsets or heads do not fit, and on the CPU for
/// queries without a key, whose y is 0 on a GPU.
AttentionResult attention(const Columns& q, const Columns& k, const Columns& v,
                          const AttentionRows& rows, i64 heads, const DropoutSite& dropout);

struct AttentionGradients {
  Tensor dq, dk, dv;
};

/// With P̃ = dropout(P):
///
///     dv = P̃ᵀ dy
///     dP = dropout(dy vᵀ)                           the mask of P̃
///     dS = P ⊙ (dP − rowsum(dP ⊙ P))                rowsum(dP ⊙ P) = rowsum(dy ⊙ y)
///     dq = dS k / √head_dim
///     dk = dSᵀ q / √head_dim
AttentionGradients attention_backward(const Tensor& dy, const Columns& q, const Columns& k,
                                      const Columns& v, const AttentionResult& result,
                                      const AttentionRows& rows, i64 heads,
                                      const DropoutSite& dropout);
/// The same into columns that there are.
void attention_backward(const Tensor& dy, const Columns& q, const Columns& k, const Columns& v,
                        const AttentionResult& result, const AttentionRows& rows, i64 heads,
                        const DropoutSite& dropout, Columns dq, Columns dk, Columns dv);

}  // namespace minima::ops
