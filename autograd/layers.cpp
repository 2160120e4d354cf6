#include "autograd/layers.hpp"

#include "autograd/autocast.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/feed_forward.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/projected_attention.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/residual_norm.hpp"

namespace minima {

Variable matmul(const Variable& a, const Variable& b, Transpose ta, Transpose tb) {
  const DType type = autocast_type();
  const Kept kept_a(a.value(), type), kept_b(b.value(), type);
  return record(
      "matmul", rounded(ops::matmul(kept_a.operand(), kept_b.operand(), ta, tb), type), {a, b},
      [kept_a, kept_b, type, ta, tb, need_a = a.requires_grad(),
       need_b = b.requires_grad()](const Tensor& incoming) {
        const Tensor a = kept_a.operand(), b = kept_b.operand(), dy = operand(incoming, type);
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

namespace {

/// linear, where x is kept already.
Variable linear_of(const Variable& x, const Kept& kept, const LinearWeights& weights, DType type) {
  const auto& [w, bias] = weights;
  const Tensor y = ops::linear(kept.operand(), operand(w.value(), type), bias.value());
  return record("linear", rounded(y, type), {x, w, bias},
                [kept, type, w = w.value(), need_x = x.requires_grad(), need_w = w.requires_grad(),
                 need_bias = bias.requires_grad()](const Tensor& incoming) {
                  const Tensor dy = operand(incoming, type);
                  ops::LinearGradients grads;
                  Tensor dx;
                  if (need_x) dx = ops::linear_input_gradient(dy, operand(w, type));
                  if (need_w && need_bias)
                    grads = ops::linear_gradients(dy, kept.operand());
                  else if (need_w)
                    grads.dw = ops::linear_weight_gradient(dy, kept.operand());
                  else if (need_bias)
                    grads.dbias = ops::column_sums(rounded(incoming, type));
                  return Grads{std::move(dx), std::move(grads.dw), std::move(grads.dbias)};
                });
}

}  // namespace

Variable linear(const Variable& x, const Variable& w, const Variable& bias) {
  const DType type = autocast_type();
  return linear_of(x, Kept(x.value(), type), {w, bias}, type);
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
  const DType type = autocast_type();
  const Kept kept_q(q.value(), type), kept_k(k.value(), type), kept_v(v.value(), type);
  auto [y, log_sum] =
      ops::attention(kept_q.operand(), kept_k.operand(), kept_v.operand(), rows, heads, dropout);
  return record(
      "attention", rounded(y, type), {q, k, v},
      [kept_q, kept_k, kept_v, type, log_sum = log_sum, rows, heads, dropout](const Tensor& dy) {
        auto [dq, dk, dv] =
            ops::attention_backward(operand(dy, type), kept_q.operand(), kept_k.operand(),
                                    kept_v.operand(), log_sum, rows, heads, dropout);
        return Grads{std::move(dq), std::move(dk), std::move(dv)};
      });
}

namespace {

/// Narrow: of the first product's result two bytes a number are kept, of gelu's nothing.
Variable feed_forward(const Variable& x, const LinearWeights& first, const LinearWeights& second,
                      DType type) {
  const Kept kept(x.value(), type),
      h(ops::linear(kept.operand(), operand(first.w.value(), type), first.b.value()), type);
  const auto gelu = [h, type] { return operand(ops::unary<ops::Gelu>(h.wide()), type); };
  const Tensor y = ops::linear(gelu(), operand(second.w.value(), type), second.b.value());
  return record("feed_forward", rounded(y, type), {x, first.w, first.b, second.w, second.b},
                [kept, h, gelu, type, w1 = first.w.value(), w2 = second.w.value(),
                 need_x = x.requires_grad()](const Tensor& incoming) {
                  const Tensor dy = operand(incoming, type);
                  const Tensor dg = ops::linear_input_gradient(dy, operand(w2, type));
                  const Tensor dh = operand(ops::unary_backward<ops::Gelu>(dg, h.wide()), type);
                  Tensor dx = need_x ? ops::linear_input_gradient(dh, operand(w1, type)) : Tensor();
                  auto of_first = ops::linear_gradients(dh, kept.operand());
                  auto of_second = ops::linear_gradients(dy, gelu());
                  return Grads{std::move(dx), std::move(of_first.dw), std::move(of_first.dbias),
                               std::move(of_second.dw), std::move(of_second.dbias)};
                });
}

/// Narrow: the sum is rounded before it is normalized, so that backward has the same.
Variable residual_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                       const Variable& beta, double eps, const ops::DropoutSite& site,
                       const Tensor& example_id, const Tensor& position, DType type) {
  const auto dropped = [=](const Tensor& x) {
    return site.rate > 0 ? ops::dropout(x, site, example_id, position) : x;
  };
  const Kept sum(ops::binary<ops::Add>(dropped(x.value()), residual.value()), type);
  auto [y, mean, rstd] = ops::layer_norm(sum.wide(), gamma.value(), beta.value(), eps);
  return record("residual_norm", std::move(y), {x, residual, gamma, beta},
                [dropped, sum, gamma = gamma.value(), mean = mean, rstd = rstd](const Tensor& dy) {
                  auto [dsum, dgamma, dbeta] =
                      ops::layer_norm_backward(dy, sum.wide(), gamma, mean, rstd);
                  Tensor dx = dropped(dsum);
                  return Grads{std::move(dx), std::move(dsum), std::move(dgamma), std::move(dbeta)};
                });
}

}  // namespace

Variable feed_forward(const Variable& x, const LinearWeights& first, const LinearWeights& second) {
  if (const DType type = autocast_type(); type != DType::f32)
    return feed_forward(x, first, second, type);
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
  if (const DType type = autocast_type(); type != DType::f32)
    return residual_norm(x, residual, gamma, beta, eps, site, example_id, position, type);
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
  if (const DType type = autocast_type(); type != DType::f32) {  // x is kept once for all
    const Kept kept(x.value(), type);
    const bool all = !asking.value().defined();
    return attention(all ? linear_of(x, kept, q, type) : linear(asking, q.w, q.b),
                     linear_of(x, kept, k, type), linear_of(x, kept, v, type), rows, heads,
                     dropout);
  }
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
