#include "core/ops/projected_attention.hpp"

#include "core/ops/matmul.hpp"

namespace minima::ops {

ProjectedAttentionResult projected_attention(const Tensor& x, const Tensor& asking,
                                             const ProjectionWeights& weights,
                                             const AttentionRows& rows, i64 heads,
                                             const DropoutSite& dropout) {
  const auto& [wq, bq, wk, bk, wv, bv] = weights;
  Tensor q = linear(asking.defined() ? asking : x, wq, bq), k = linear(x, wk, bk),
         v = linear(x, wv, bv);
  auto [y, log_sum] = attention(q, k, v, rows, heads, dropout);
  return {std::move(y), std::move(q), std::move(k), std::move(v), std::move(log_sum)};
}

ProjectedAttentionGradients projected_attention_backward(const Tensor& dy, const Tensor& x,
                                                         const Tensor& asking,
                                                         const ProjectionWeights& weights,
                                                         ProjectedAttentionResult kept,
                                                         const AttentionRows& rows, i64 heads,
                                                         const DropoutSite& dropout, bool need_dx) {
  auto [dq, dk, dv] =
      attention_backward(dy, kept.q, kept.k, kept.v, kept.log_sum, rows, heads, dropout);
  kept = {};
  const Tensor& x_queries = asking.defined() ? asking : x;
  ProjectedAttentionGradients result;
  result.dweights = {linear_weight_gradient(dq, x_queries), column_sums(dq),
                     linear_weight_gradient(dk, x),         column_sums(dk),
                     linear_weight_gradient(dv, x),         column_sums(dv)};
  if (!need_dx) return result;
  result.dx = linear_input_gradient(dk, weights.wk);
  result.dx = linear_input_gradient(dv, weights.wv, result.dx);
  if (asking.defined())
    result.dasking = linear_input_gradient(dq, weights.wq);
  else
    result.dx = linear_input_gradient(dq, weights.wq, result.dx);
  return result;
}

}  // namespace minima::ops
