#include "autograd/functions.hpp"

#include "core/ops/elementwise.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/linear_cross_entropy.hpp"
#include "core/ops/pool.hpp"
#include "core/ops/softmax.hpp"

namespace minima {

// ---- elementwise

namespace {

template <class Op>
Variable unary(const Variable& x) {
  const Tensor y = ops::unary<Op>(x.value());
  const Tensor kept = Op::keeps == ops::Keeps::input ? x.value() : y;
  return record(Op::name, y, {x},
                [kept](const Tensor& dy) { return Grads{ops::unary_backward<Op>(dy, kept)}; });
}

template <class Op>
Variable binary(const Variable& a, const Variable& b) {
  return record(Op::name, ops::binary<Op>(a.value(), b.value()), {a, b},
                [a = a.value(), b = b.value(), need_a = a.requires_grad(),
                 need_b = b.requires_grad()](const Tensor& dy) {
                  return Grads{need_a ? ops::binary_backward_a<Op>(dy, a, b) : Tensor(),
                               need_b ? ops::binary_backward_b<Op>(dy, a, b) : Tensor()};
                });
}

}  // namespace

Variable gelu(const Variable& x) { return unary<ops::Gelu>(x); }
Variable gelu_tanh(const Variable& x) { return unary<ops::GeluTanh>(x); }
Variable relu(const Variable& x) { return unary<ops::Relu>(x); }
Variable tanh(const Variable& x) { return unary<ops::Tanh>(x); }
Variable sigmoid(const Variable& x) { return unary<ops::Sigmoid>(x); }
Variable silu(const Variable& x) { return unary<ops::Silu>(x); }
Variable exp(const Variable& x) { return unary<ops::Exp>(x); }
Variable log(const Variable& x) { return unary<ops::Log>(x); }
Variable sqrt(const Variable& x) { return unary<ops::Sqrt>(x); }
Variable rsqrt(const Variable& x) { return unary<ops::Rsqrt>(x); }
Variable abs(const Variable& x) { return unary<ops::Abs>(x); }
Variable neg(const Variable& x) { return unary<ops::Neg>(x); }
Variable square(const Variable& x) { return unary<ops::Square>(x); }
Variable erf(const Variable& x) { return unary<ops::Erf>(x); }

Variable add(const Variable& a, const Variable& b) {
  return record("add", ops::binary<ops::Add>(a.value(), b.value()), {a, b},
                [a = a.shape(), b = b.shape(), need_a = a.requires_grad(),
                 need_b = b.requires_grad()](const Tensor& dy) {
                  return Grads{need_a ? ops::sum_to(dy, a) : Tensor(),
                               need_b ? ops::sum_to(dy, b) : Tensor()};
                });
}

Variable sub(const Variable& a, const Variable& b) {
  return record("sub", ops::binary<ops::Sub>(a.value(), b.value()), {a, b},
                [a = a.shape(), b = b.shape(), need_a = a.requires_grad(),
                 need_b = b.requires_grad()](const Tensor& dy) {
                  return Grads{need_a ? ops::sum_to(dy, a) : Tensor(),
                               need_b ? ops::unary<ops::Neg>(ops::sum_to(dy, b)) : Tensor()};
                });
}

Variable mul(const Variable& a, const Variable& b) { return binary<ops::Mul>(a, b); }
Variable div(const Variable& a, const Variable& b) { return binary<ops::Div>(a, b); }
Variable maximum(const Variable& a, const Variable& b) { return binary<ops::Maximum>(a, b); }
Variable minimum(const Variable& a, const Variable& b) { return binary<ops::Minimum>(a, b); }
Variable pow(const Variable& a, const Variable& b) { return binary<ops::Pow>(a, b); }

Variable where(const Tensor& condition, const Variable& a, const Variable& b) {
  return record("where", ops::where(condition, a.value(), b.value()), {a, b},
                [condition, a = a.shape(), b = b.shape(), need_a = a.requires_grad(),
                 need_b = b.requires_grad()](const Tensor& dy) {
                  const Tensor zero = ops::scalar_like(dy, 0);
                  return Grads{need_a ? ops::sum_to(ops::where(condition, dy, zero), a) : Tensor(),
                               need_b ? ops::sum_to(ops::where(condition, zero, dy), b) : Tensor()};
                });
}

Variable constant(const Variable& x, double value) { return ops::scalar_like(x.value(), value); }

// ---- reductions

Variable sum(const Variable& x, const Dims& dims, KeepDims keep) {
  return record("sum", ops::sum(x.value(), dims, keep), {x},
                [shape = x.shape(), dims](const Tensor& dy) {
                  return Grads{ops::sum_backward(dy, shape, dims)};
                });
}

Variable mean(const Variable& x, const Dims& dims, KeepDims keep) {
  return record("mean", ops::mean(x.value(), dims, keep), {x},
                [shape = x.shape(), dims](const Tensor& dy) {
                  return Grads{ops::mean_backward(dy, shape, dims)};
                });
}

Variable amax(const Variable& x, const Dims& dims, KeepDims keep) {
  const Tensor y = ops::amax(x.value(), dims, keep);
  return record("amax", y, {x}, [x = x.value(), y, dims](const Tensor& dy) {
    return Grads{ops::extremum_backward(dy, x, y, dims)};
  });
}

Variable amin(const Variable& x, const Dims& dims, KeepDims keep) {
  const Tensor y = ops::amin(x.value(), dims, keep);
  return record("amin", y, {x}, [x = x.value(), y, dims](const Tensor& dy) {
    return Grads{ops::extremum_backward(dy, x, y, dims)};
  });
}

Variable var(const Variable& x, const Dims& dims, i64 correction, KeepDims keep) {
  return record("var", ops::var(x.value(), dims, correction, keep), {x},
                [x = x.value(), dims, correction](const Tensor& dy) {
                  return Grads{ops::var_backward(dy, x, dims, correction)};
                });
}

Variable logsumexp(const Variable& x, const Dims& dims, KeepDims keep) {
  const Tensor y = ops::logsumexp(x.value(), dims, keep);
  return record("logsumexp", y, {x}, [x = x.value(), y, dims](const Tensor& dy) {
    return Grads{ops::logsumexp_backward(dy, x, y, dims)};
  });
}

Variable norm(const Variable& x, const Dims& dims, KeepDims keep) {
  const Tensor y = ops::norm(x.value(), dims, keep);
  return record("norm", y, {x}, [x = x.value(), y, dims](const Tensor& dy) {
    return Grads{ops::norm_backward(dy, x, y, dims)};
  });
}

Variable cumsum(const Variable& x, int dim) {
  return record("cumsum", ops::cumsum(x.value(), dim), {x},
                [dim](const Tensor& dy) { return Grads{ops::cumsum_backward(dy, dim)}; });
}

Variable l2_normalize(const Variable& x, int dim, double eps) {
  return x / maximum(norm(x, {dim}, KeepDims::yes), constant(x, eps));
}

// ---- softmax

Variable softmax(const Variable& x, int dim) {
  const Tensor y = ops::softmax(x.value(), dim);
  return record("softmax", y, {x},
                [y, dim](const Tensor& dy) { return Grads{ops::softmax_backward(dy, y, dim)}; });
}

Variable log_softmax(const Variable& x, int dim) {
  const Tensor y = ops::log_softmax(x.value(), dim);
  return record("log_softmax", y, {x}, [y, dim](const Tensor& dy) {
    return Grads{ops::log_softmax_backward(dy, y, dim)};
  });
}

Variable softmax_masked(const Variable& x, const Tensor& keep, int dim) {
  const Tensor y = ops::softmax_masked(x.value(), keep, dim);
  return record("softmax_masked", y, {x},
                [y, dim](const Tensor& dy) { return Grads{ops::softmax_backward(dy, y, dim)}; });
}

// ---- layout

Variable reshape(const Variable& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape), {x},
                [shape = x.shape()](const Tensor& dy) { return Grads{dy.reshape(shape)}; });
}

Variable reshape(const Variable& x, std::initializer_list<i64> sizes) {
  return reshape(x, x.value().reshape(sizes).shape());
}

Variable transpose(const Variable& x, int dim0, int dim1) {
  return record("transpose", ops::transpose(x.value(), dim0, dim1), {x},
                [dim0, dim1](const Tensor& dy) { return Grads{ops::transpose(dy, dim0, dim1)}; });
}

Variable permute(const Variable& x, const std::vector<int>& order) {
  return record("permute", ops::permute(x.value(), order), {x},
                [inverse = ops::inverse_order(order)](const Tensor& dy) {
                  return Grads{ops::permute(dy, inverse)};
                });
}

Variable slice(const Variable& x, const ops::Slice& slice) {
  return record("slice", ops::slice(x.value(), slice), {x},
                [shape = x.shape(), slice](const Tensor& dy) {
                  return Grads{ops::slice_backward(dy, shape, slice)};
                });
}

Variable expand(const Variable& x, const Shape& shape) {
  return record("expand", ops::expand(x.value(), shape), {x},
                [shape = x.shape()](const Tensor& dy) { return Grads{ops::sum_to(dy, shape)}; });
}

namespace {

std::vector<Tensor> values(const std::vector<Variable>& parts) {
  std::vector<Tensor> result;
  for (const Variable& part : parts) result.push_back(part.value());
  return result;
}

}  // namespace

Variable cat(const std::vector<Variable>& parts, int dim) {
  const Tensor y = ops::cat(values(parts), dim);
  std::vector<i64> sizes;
  std::vector<bool> needs;
  for (const Variable& part : parts) {
    sizes.push_back(part.size(dim));
    needs.push_back(part.requires_grad());
  }
  return record("cat", y, parts, [sizes, needs, dim](const Tensor& dy) {
    Grads grads(sizes.size());
    i64 begin = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const i64 end = begin + sizes[i];
      if (needs[i]) grads[i] = ops::slice(dy, {dim, begin, end});
      begin = end;
    }
    return grads;
  });
}

Variable stack(const std::vector<Variable>& parts, int dim) {
  const Tensor y = ops::stack(values(parts), dim);
  std::vector<bool> needs;
  for (const Variable& part : parts) needs.push_back(part.requires_grad());
  return record("stack", y, parts, [needs, shape = parts[0].shape(), dim](const Tensor& dy) {
    Grads grads(needs.size());
    for (std::size_t i = 0; i < needs.size(); ++i) {
      const i64 at = static_cast<i64>(i);
      if (needs[i]) grads[i] = ops::slice(dy, {dim, at, at + 1}).reshape(shape);
    }
    return grads;
  });
}

Variable index_select(const Variable& x, int dim, const Tensor& ids) {
  return record("index_select", ops::index_select(x.value(), dim, ids), {x},
                [shape = x.shape(), dim, ids](const Tensor& dy) {
                  return Grads{ops::index_select_backward(dy, shape, dim, ids)};
                });
}

Variable gather(const Variable& x, int dim, const Tensor& ids) {
  return record("gather", ops::gather(x.value(), dim, ids), {x},
                [shape = x.shape(), dim, ids](const Tensor& dy) {
                  const Tensor zeros = Tensor::zeros(shape, dy.dtype(), dy.device());
                  return Grads{ops::scatter_add(zeros, dim, ids, dy)};
                });
}

Variable scatter_add(const Variable& x, int dim, const Tensor& ids, const Variable& src) {
  return record("scatter_add", ops::scatter_add(x.value(), dim, ids, src.value()), {x, src},
                [dim, ids, need_src = src.requires_grad()](const Tensor& dy) {
                  return Grads{dy, need_src ? ops::gather(dy, dim, ids) : Tensor()};
                });
}

// ---- texts and classes

Variable embedding(const Variable& w, const Tensor& ids, std::optional<i64> padding_idx) {
  Tensor y = ops::embedding(w.value(), ids);
  const i64 entries = w.value().size(0);
  check(!padding_idx || (*padding_idx >= 0 && *padding_idx < entries),
        "embedding: padding_idx {} is outside of 0 … {}", padding_idx.value_or(0), entries - 1);
  return record("embedding", std::move(y), {w}, [ids, padding_idx, entries](const Tensor& dy) {
    return Grads{ops::embedding_backward(dy, ids, padding_idx, entries)};
  });
}

Variable mean_pool(const Variable& x, const Tensor& offsets) {
  return record(
      "mean_pool", ops::mean_pool(x.value(), offsets), {x},
      [offsets, shape = x.shape()](const Tensor& dy) {  // size(0) of a number would throw first
        return Grads{ops::mean_pool_backward(dy, offsets, shape[0])};
      });
}

Variable cross_entropy(const Variable& logits, const Tensor& target,
                       const CrossEntropyOptions& options) {
  ops::CrossEntropyOut out = ops::cross_entropy(logits.value(), target, options);
  const Tensor loss = out.loss;
  return record("cross_entropy", loss, {logits},
                [logits = logits.value(), target, options, out](const Tensor& dy) {
                  return Grads{ops::cross_entropy_backward(dy, logits, target, options, out)};
                });
}

Variable linear_cross_entropy(const Variable& x, const Variable& w, const Variable& bias,
                              const Tensor& target) {
  ops::LinearCrossEntropyOut out = ops::linear_cross_entropy(
      x.value(), w.value(), bias.value(), target,
      {.dx = x.requires_grad(), .dw = w.requires_grad(), .dbias = bias.requires_grad()});
  const Tensor loss = out.loss;
  return record(
      "linear_cross_entropy", loss, {x, w, bias}, [out = std::move(out)](const Tensor& dy) {
        const bool is_one = dy.device() == Device{} && dy.item() == 1;  // a GPU is not asked
        const auto scaled = [&](const Tensor& gradient) {
          return is_one || !gradient.defined() ? gradient : ops::binary<ops::Mul>(gradient, dy);
        };
        return Grads{scaled(out.dx), scaled(out.dw), scaled(out.dbias)};
      });
}

namespace {

Variable reduced(const Variable& x, Reduction reduction) {
  if (reduction == Reduction::none) return x;
  return reduction == Reduction::sum ? sum(x) : mean(x);
}

/// A target may be broadcast to the shape of what it is compared with, and not the other way: of [n, 1] and [n] the
/// losses would be [n, n].
void check_target(const char* op, const Variable& x, const Variable& target) {
  const Shape &predicted = x.value().shape(), &wanted = target.value().shape();
  check(ops::common_shape(predicted, wanted) == predicted,
        "{}: the target {} is no {}, nor broadcast to it; reshape one of them", op, wanted,
        predicted);
}

}  // namespace

Variable bce_with_logits(const Variable& logits, const Variable& target, Reduction reduction) {
  check_target("bce_with_logits", logits, target);
  return reduced(binary<ops::BinaryCrossEntropy>(logits, target), reduction);
}

Variable mse(const Variable& x, const Variable& target, Reduction reduction) {
  check_target("mse", x, target);
  return reduced(binary<ops::SquaredError>(x, target), reduction);
}

}  // namespace minima
