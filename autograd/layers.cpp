#include "autograd/layers.hpp"

#include "autograd/autocast.hpp"
#include "core/ops/feed_forward.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/projected_attention.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/residual_norm.hpp"

namespace minima {
namespace {

/// Of the first input, which is x, where it needs a gradient, which is a product.
Tensor product_so_far(const Tensor& x, bool need_x) {
  return need_x ? gradient_so_far(0, widened(x.dtype())) : Tensor();
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b, Transpose ta, Transpose tb) {
  const DType type = autocast_type();
  return record(
      "matmul", ops::matmul(a.value(type), b.value(type), ta, tb, ops::Sums::rounded), {a, b},
      [a = a.value(type), b = b.value(type), ta, tb, need_a = a.requires_grad(),
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
  const DType type = autocast_type();
  // What is rounded when it arrives is rounded at once.
  const auto sums_of_dx = is_narrow(x.dtype()) ? ops::Sums::rounded : ops::Sums::kept;
  return record("linear",
                ops::linear(x.value(type), w.value(type), bias.value(), ops::Sums::rounded),
                {x, w, bias},
                [x = x.value(type), w = w.value(type), sums_of_dx, need_x = x.requires_grad(),
                 need_w = w.requires_grad(), need_bias = bias.requires_grad()](const Tensor& dy) {
                  ops::LinearGradients grads;
                  Tensor dx;
                  if (need_x) dx = ops::linear_input_gradient(dy, w, sums_of_dx);
                  if (need_w && need_bias)
                    grads = ops::linear_gradients(dy, x);
                  else if (need_w)
                    grads.dw = ops::linear_weight_gradient(dy, x);
                  else if (need_bias)
                    grads.dbias = ops::column_sums(dy.to(widened(dy.dtype())));
                  return Grads{std::move(dx), std::move(grads.dw), std::move(grads.dbias)};
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
  const DType type = autocast_type();
  const auto taken = [type](const Variable& x) { return ops::attention_operand(x.value(type)); };
  const Tensor as_q = taken(q), as_k = taken(k), as_v = taken(v);
  const ops::AttentionResult out = ops::attention(as_q, as_k, as_v, rows, heads, dropout);
  return record("attention", out.y.to(q.value(type).dtype()), {q, k, v},
                [q = as_q, k = as_k, v = as_v, out, rows, heads, dropout](const Tensor& dy) {
                  auto [dq, dk, dv] = ops::attention_backward(ops::attention_operand(dy), q, k, v,
                                                              out, rows, heads, dropout);
                  return Grads{std::move(dq), std::move(dk), std::move(dv)};
                });
}

Variable feed_forward(const Variable& x, const LinearWeights& first, const LinearWeights& second) {
  const DType type = autocast_type();
  const ops::FeedForwardWeights weights{first.w.value(type), first.b.value(), second.w.value(type),
                                        second.b.value()};
  auto [y, h] = ops::feed_forward(x.value(type), weights);
  return record("feed_forward", std::move(y), {x, first.w, first.b, second.w, second.b},
                [x = x.value(type), h = h, weights, need_x = x.requires_grad()](const Tensor& dy) {
                  auto grads = ops::feed_forward_backward(dy, x, h, weights, need_x,
                                                          product_so_far(x, need_x));
                  return Grads{std::move(grads.dx), std::move(grads.dw1), std::move(grads.db1),
                               std::move(grads.dw2), std::move(grads.db2)};
                });
}

Variable residual_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                       const Variable& beta, double eps, const ops::DropoutSite& site,
                       const Tensor& example_id, const Tensor& position) {
  ops::ResidualNormResult out =
      ops::residual_norm(x.value(autocast_type()), residual.value(), gamma.value(), beta.value(),
                         eps, site, example_id, position);
  Tensor y = std::move(out.y), rounded = std::move(out.rounded);
  return record(
      "residual_norm", std::move(y), {x, residual, gamma, beta},
      [kept = std::move(out), gamma = gamma.value(), site, example_id, position](const Tensor& dy) {
        auto grads = ops::residual_norm_backward(dy, kept, gamma, site, example_id, position);
        return Grads{std::move(grads.dx), std::move(grads.dresidual), std::move(grads.dgamma),
                     std::move(grads.dbeta)};
      },
      std::move(rounded));
}

namespace {

/// The weights as numbers of `type`: one after another in memory, as those of one product are best.
ops::ProjectionWeights projections(const LinearWeights& q, const LinearWeights& k,
                                   const LinearWeights& v, DType type) {
  ops::ProjectionWeights weights{q.w.value(), q.b.value(), k.w.value(),
                                 k.b.value(), v.w.value(), v.b.value()};
  if (!is_narrow(type) || widened(weights.wq.dtype()) != DType::f32) return weights;
  const Tensor all = Tensor::stacked({weights.wq, weights.wk, weights.wv}).to(type);
  i64 at = 0;
  for (Tensor* w : {&weights.wq, &weights.wk, &weights.wv}) {
    const i64 end = at + w->size(0);
    *w = all.rows(at, end);
    at = end;
  }
  return weights;
}

}  // namespace

Variable projected_attention(const Variable& x, const Variable& asking, const LinearWeights& q,
                             const LinearWeights& k, const LinearWeights& v,
                             const ops::AttentionRows& rows, i64 heads,
                             const ops::DropoutSite& dropout) {
  const DType type = autocast_type();
  const ops::ProjectionWeights weights = projections(q, k, v, type);
  ops::ProjectedAttentionResult out =
      ops::projected_attention(x.value(type), asking.value(type), weights, rows, heads, dropout);
  Tensor y = out.y;
  return record("projected_attention", std::move(y), {x, asking, q.w, q.b, k.w, k.b, v.w, v.b},
                [x = x.value(type), asking = asking.value(type), weights, kept = std::move(out),
                 rows, heads, dropout, need_x = x.requires_grad(),
                 need_asking = asking.requires_grad()](const Tensor& dy) mutable {
                  auto grads = ops::projected_attention_backward(
                      dy, x, asking, weights, std::move(kept), rows, heads, dropout, need_x,
                      need_asking, product_so_far(x, need_x));
                  auto& [wq, bq, wk, bk, wv, bv] = grads.dweights;
                  return Grads{std::move(grads.dx), std::move(grads.dasking),
                               std::move(wq),       std::move(bq),
                               std::move(wk),       std::move(bk),
                               std::move(wv),       std::move(bv)};
                });
}

}  // namespace minima
