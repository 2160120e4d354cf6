#include "core/ops/projected_attention.hpp"

#include "core/ops/matmul.hpp"

namespace minima::ops {
namespace {

struct Stacked {
  Tensor w, b;
};
Stacked qkv(const ProjectionWeights& p) {
  return {Tensor::stacked({p.wq, p.wk, p.wv}), Tensor::stacked({p.bq, p.bk, p.bv})};
}
Stacked kv(const ProjectionWeights& p) {
  return {Tensor::stacked({p.wk, p.wv}), Tensor::stacked({p.bk, p.bv})};
}

/// Queries, keys and values within the results of the products.
struct Views {
  Columns q, k, v;
};
Views views(const Tensor& q, const Tensor& kv) {
  const i64 dim = kv.size(1) / (q.defined() ? 2 : 3);
  if (q.defined()) return {q, {kv, 0, dim}, {kv, dim, dim}};
  return {{kv, 0, dim}, {kv, dim, dim}, {kv, 2 * dim, dim}};
}

}  // namespace

ProjectedAttentionResult projected_attention(const Tensor& x, const Tensor& asking,
                                             const ProjectionWeights& weights,
                                             const AttentionRows& rows, i64 heads,
                                             const DropoutSite& dropout) {
  const auto& [wq, bq, wk, bk, wv, bv] = weights;
  check(wq.shape() == wk.shape() && wv.shape() == wk.shape() && bq.shape() == bk.shape() &&
            bv.shape() == bk.shape(),
        "projected_attention: wq is {}, wk {}, wv {}, bq {}, bk {}, bv {}; the three products must "
        "have one shape",
        wq.shape(), wk.shape(), wv.shape(), bq.shape(), bk.shape(), bv.shape());
  ProjectedAttentionResult out;
  if (asking.defined()) out.q = linear(asking, weights.wq, weights.bq, Sums::rounded);
  const auto [w, b] = asking.defined() ? kv(weights) : qkv(weights);
  out.kv = linear(x, w, b, Sums::rounded);
  const auto [q, k, v] = views(attention_operand(out.q), attention_operand(out.kv));
  AttentionResult result = attention(q, k, v, rows, heads, dropout);
  out.y = result.y.to(x.dtype());
  out.log_sum = std::move(result.log_sum);
  return out;
}

ProjectedAttentionGradients projected_attention_backward(
    const Tensor& dy, const Tensor& x, const Tensor& asking, const ProjectionWeights& weights,
    ProjectedAttentionResult kept, const AttentionRows& rows, i64 heads, const DropoutSite& dropout,
    bool need_dx, bool need_dasking, Tensor so_far) {
  Tensor dq, dkv;
  {
    const Tensor taken_q = attention_operand(kept.q), taken_kv = attention_operand(kept.kv);
    if (taken_q.defined()) dq = Tensor::empty_like(taken_q);
    dkv = Tensor::empty_like(taken_kv);
    const auto [q, k, v] = views(taken_q, taken_kv);
    const auto [to_q, to_k, to_v] = views(dq, dkv);
    attention_backward(attention_operand(dy), q, k, v, {kept.y, kept.log_sum}, rows, heads, dropout,
                       to_q, to_k, to_v);
  }
  kept = {};
  if (dq.defined()) dq = dq.to(x.dtype());
  dkv = dkv.to(x.dtype());
  ProjectedAttentionGradients result;
  ProjectionWeights& grads = result.dweights;
  const i64 dim = weights.wk.size(0);
  if (asking.defined()) {
    auto [dw, db] = linear_gradients(dq, asking);
    grads.wq = std::move(dw), grads.bq = std::move(db);
    if (need_dasking) result.dasking = linear_input_gradient(dq, weights.wq);
  }
  const LinearGradients both = linear_gradients(dkv, x);
  i64 at = 0;
  const auto next = [&](Tensor& w, Tensor& b) {
    w = both.dw.rows(at, at + dim);
    b = both.dbias.rows(at, at + dim);
    at += dim;
  };
  if (!asking.defined()) next(grads.wq, grads.bq);
  next(grads.wk, grads.bk);
  next(grads.wv, grads.bv);
  if (need_dx)
    result.dx = linear_input_gradient(dkv, (asking.defined() ? kv(weights) : qkv(weights)).w,
                                      Sums::kept, std::move(so_far));
  return result;
}

}  // namespace minima::ops
