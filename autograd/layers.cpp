#include "autograd/layers.hpp"

#include "core/ops/feed_forward.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/projected_attention.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/residual_norm.hpp"

namespace minima {

Variable matmul(const Variable& a, const Variable& b, Transpose ta, Transpose tb) {
  return record(
      "matmul", ops::matmul(a.value(), b.value(), ta, tb), {a, b},
      [a = a.value(), b = b.value(), ta, tb, need_a = a.requires_grad(),
       need_b = b.requires_grad()](const Tensor& dy) {
        // A vector is a matrix of one row (a) or one column (b), and the gradient has that
        // dimension back.
        const Tensor left = a.rank() == 1 ? a.reshape({1, a.size()}) : a;
        const Tensor right = b.rank() == 1 ? b.reshape({b.size(), 1}) : b;
        std::vector<i64> sizes(dy.shape().begin(), dy.shape().end());
        if (b.rank() == 1) sizes.push_back(1);
        if (a.rank() == 1) sizes.insert(sizes.end() - 1, 1);
        const Tensor g = dy.reshape(Shape(sizes));
        const Transpose flip_b = tb == Transpose::yes ? Transpose::no : Transpose::yes;
        const Transpose flip_a = ta == Transpose::yes ? Transpose::no : Transpose::yes;
        Tensor da, db;
        if (need_a)
          da = ops::sum_to(ta == Transpose::yes ? ops::matmul(right, g, tb, Transpose::yes)
                                                : ops::matmul(g, right, Transpose::no, flip_b),
                           left.shape())
                   .reshape(a.shape());
        if (need_b)
          db = ops::sum_to(tb == Transpose::yes ? ops::matmul(g, left, Transpose::yes, ta)
                                                : ops::matmul(left, g, flip_a, Transpose::no),
                           right.shape())
                   .reshape(b.shape());
        return Grads{da, db};
      });
}

Variable linear(const Variable& x, const Variable& w, const Variable& bias) {
  return record("linear", ops::linear(x.value(), w.value(), bias.value()), {x, w, bias},
                [x = x.value(), w = w.value(), need_x = x.requires_grad(),
                 need_w = w.requires_grad(), need_bias = bias.requires_grad()](const Tensor& dy) {
                  return Grads{need_x ? ops::linear_input_gradient(dy, w) : Tensor(),
                               need_w ? ops::linear_weight_gradient(dy, x) : Tensor(),
                               need_bias ? ops::column_sums(dy) : Tensor()};
                });
}

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  auto [y, mean, rstd] = ops::layer_norm(x.value(), gamma.value(), beta.value(), eps);
  return record("layer_norm", std::move(y), {x, gamma, beta},
                [x = x.value(), gamma = gamma.value(), mean = mean, rstd = rstd](const Tensor& dy) {
                  auto [dx, dgamma, dbeta] = ops::layer_norm_backward(dy, x, gamma, mean, rstd);
                  return Grads{std::move(dx), std::move(dgamma), std::move(dbeta)};
                });
}

Variable dropout(const Variable& x, const ops::DropoutSite& site, const Tensor& example_id,
                 const Tensor& position) {
  if (site.rate == 0) return x;
  return record(
      "dropout", ops::dropout(x.value(), site, example_id, position), {x},
      [=](const Tensor& dy) { return Grads{ops::dropout(dy, site, example_id, position)}; });
}

Variable attention(const Variable& q, const Variable& k, const Variable& v,
                   const ops::AttentionRows& rows, i64 heads, const ops::DropoutSite& dropout) {
  auto [y, log_sum] = ops::attention(q.value(), k.value(), v.value(), rows, heads, dropout);
  return record("attention", std::move(y), {q, k, v},
                [q = q.value(), k = k.value(), v = v.value(), log_sum = log_sum, rows, heads,
                 dropout](const Tensor& dy) {
                  auto [dq, dk, dv] =
                      ops::attention_backward(dy, q, k, v, log_sum, rows, heads, dropout);
                  return Grads{std::move(dq), std::move(dk), std::move(dv)};
                });
}

Variable feed_forward(const Variable& x, const LinearWeights& first, const LinearWeights& second) {
  const ops::FeedForwardWeights weights{first.w.value(), first.b.value(), second.w.value(),
                                        second.b.value()};
  auto [y, h] = ops::feed_forward(x.value(), weights);
  return record("feed_forward", std::move(y), {x, first.w, first.b, second.w, second.b},
                [x = x.value(), h = h, weights, need_x = x.requires_grad()](const Tensor& dy) {
                  auto grads = ops::feed_forward_backward(dy, x, h, weights, need_x);
                  return Grads{std::move(grads.dx), std::move(grads.dw1), std::move(grads.db1),
                               std::move(grads.dw2), std::move(grads.db2)};
                });
}

Variable residual_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                       const Variable& beta, double eps, const ops::DropoutSite& site,
                       const Tensor& example_id, const Tensor& position) {
  ops::ResidualNormResult out = ops::residual_norm(x.value(), residual.value(), gamma.value(),
                                                   beta.value(), eps, site, example_id, position);
  Tensor y = std::move(out.y);
  return record(
      "residual_norm", std::move(y), {x, residual, gamma, beta},
      [kept = std::move(out), gamma = gamma.value(), site, example_id, position](const Tensor& dy) {
        auto grads = ops::residual_norm_backward(dy, kept, gamma, site, example_id, position);
        return Grads{std::move(grads.dx), std::move(grads.dresidual), std::move(grads.dgamma),
                     std::move(grads.dbeta)};
      });
}

Variable projected_attention(const Variable& x, const Variable& asking, const LinearWeights& q,
                             const LinearWeights& k, const LinearWeights& v,
                             const ops::AttentionRows& rows, i64 heads,
                             const ops::DropoutSite& dropout) {
  const ops::ProjectionWeights weights{q.w.value(), q.b.value(), k.w.value(),
                                       k.b.value(), v.w.value(), v.b.value()};
  ops::ProjectedAttentionResult out =
      ops::projected_attention(x.value(), asking.value(), weights, rows, heads, dropout);
  Tensor y = std::move(out.y);
  return record("projected_attention", std::move(y), {x, asking, q.w, q.b, k.w, k.b, v.w, v.b},
                [x = x.value(), asking = asking.value(), weights, kept = std::move(out), rows,
                 heads, dropout, need_x = x.requires_grad()](const Tensor& dy) mutable {
                  auto grads = ops::projected_attention_backward(
                      dy, x, asking, weights, std::move(kept), rows, heads, dropout, need_x);
                  auto& [wq, bq, wk, bk, wv, bv] = grads.dweights;
                  return Grads{std::move(grads.dx), std::move(grads.dasking),
                               std::move(wq),       std::move(bq),
                               std::move(wk),       std::move(bk),
                               std::move(wv),       std::move(bv)};
                });
}

}  // namespace minima
