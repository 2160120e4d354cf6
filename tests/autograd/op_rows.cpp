#include "tests/autograd/op_rows.hpp"

#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/rng.hpp"

namespace minima::test {
namespace {

using In = std::vector<Variable>;

/// Uniform numbers between low and high; another stream for every call.
Tensor uniform(const Shape& shape, double low = -2, double high = 2) {
  static int stream = 0;
  RandomSequence random(++stream, "gradcheck inputs");
  Tensor x = Tensor::empty(shape, DType::f64);
  for (double& value : x.span<double>()) value = low + (high - low) * random.uniform();
  return x;
}
Tensor positive(const Shape& shape) { return uniform(shape, 0.3, 2); }

/// Integers on a device.
struct Ids {
  Device device;
  Tensor operator()(const std::vector<i64>& values, const Shape& shape) const {
    return Tensor::from(values, shape).to(device);
  }
  Tensor operator()(const std::vector<i64>& values) const {
    return Tensor::from(values).to(device);
  }
};

}  // namespace

std::vector<OpRow> op_rows(Device device, DType dtype) {
  std::vector<OpRow> rows;
  const Ids ids{device};
  const auto add_row = [&](std::string_view op, std::vector<Tensor> inputs,
                           std::function<Variable(const In&)> function, double tolerance = 1e-7) {
    rows.push_back({op, std::move(inputs), std::move(function), tolerance});
  };
  const auto unary = [&](std::string_view op, Variable (*f)(const Variable&), const Tensor& x) {
    add_row(op, {x}, [f](const In& in) { return f(in[0]); });
  };
  unary("gelu", gelu, uniform({3, 7}, -4, 4));
  unary("gelu_tanh", gelu_tanh, uniform({3, 7}, -4, 4));
  unary("relu", relu, uniform({3, 7}));
  unary("tanh", tanh, uniform({3, 7}));
  unary("sigmoid", sigmoid, uniform({3, 7}, -5, 5));
  unary("silu", silu, uniform({3, 7}, -5, 5));
  unary("exp", exp, uniform({3, 7}));
  unary("log", log, positive({3, 7}));
  unary("sqrt", sqrt, positive({3, 7}));
  unary("rsqrt", rsqrt, positive({3, 7}));
  unary("abs", abs, uniform({3, 7}));
  unary("neg", neg, uniform({3, 7}));
  unary("square", square, uniform({3, 7}));
  unary("erf", erf, uniform({3, 7}));

  // Shapes that are equal, that repeat rows, columns, both, and a scalar.
  const std::pair<Shape, Shape> shapes[] = {
      {{3, 4}, {3, 4}}, {{3, 4}, {4}}, {{3, 1}, {1, 4}}, {{}, {2, 3}}, {{2, 1, 3, 1}, {2, 1, 4}}};
  const auto binary = [&](std::string_view op, Variable (*f)(const Variable&, const Variable&)) {
    for (const auto& [a, b] : shapes)
      add_row(op, {positive(a), positive(b)}, [f](const In& in) { return f(in[0], in[1]); });
  };
  binary("add", add);
  binary("sub", sub);
  binary("mul", mul);
  binary("div", div);
  binary("maximum", maximum);
  binary("minimum", minimum);
  binary("pow", pow);
  add_row("where", {uniform({3, 1}), uniform({2, 1, 4})}, [=](const In& in) {
    return where(ids({0, 2, 1, 0}), in[0], in[1]);
  });
  add_row("where", {uniform({4}), uniform({})}, [=](const In& in) {
    return where(ids({0, -1, 1}, {3, 1}), in[0], in[1]);
  });
  for (Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean}) {
    add_row("mse", {uniform({3, 4}), uniform({4})},
            [=](const In& in) { return mse(in[0], in[1], reduction); });
    add_row("bce_with_logits", {uniform({3, 4}, -5, 5), uniform({3, 4}, 0, 1)},
            [=](const In& in) { return bce_with_logits(in[0], in[1], reduction); });
  }

  for (const Dims& dims : {Dims{}, Dims{0}, Dims{1}, Dims{-1}, Dims{0, 2}, Dims{2, 1}})
    for (KeepDims keep : {KeepDims::no, KeepDims::yes}) {
      const auto reduction = [&](std::string_view op, auto f) {
        add_row(op, {uniform({2, 3, 4})}, [=](const In& in) { return f(in[0], dims, keep); });
      };
      reduction("sum", sum);
      reduction("mean", mean);
      reduction("amax", amax);
      reduction("amin", amin);
      reduction("logsumexp", logsumexp);
      reduction("norm", norm);
      for (i64 correction : {0, 1})
        reduction("var", [=](const Variable& x, const Dims& d, KeepDims k) {
          return var(x, d, correction, k);
        });
    }
  for (int dim : {0, 1, -1}) {
    add_row("cumsum", {uniform({2, 3, 4})}, [=](const In& in) { return cumsum(in[0], dim); });
    add_row("softmax", {uniform({2, 3, 4})}, [=](const In& in) { return softmax(in[0], dim); });
    add_row("log_softmax", {uniform({2, 3, 4})},
            [=](const In& in) { return log_softmax(in[0], dim); });
    add_row("softmax_masked", {uniform({2, 3, 4})}, [=](const In& in) {
      std::vector<i64> keep(24, 1);
      for (std::size_t i : {1u, 4u, 5u, 12u, 13u, 14u, 15u, 23u}) keep[i] = 0;
      return softmax_masked(in[0], ids(keep, {2, 3, 4}), dim);
    });
  }
  for (Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean})
    for (double smoothing : {0.0, 0.2})
      for (bool weighted : {false, true})
        add_row("cross_entropy", {uniform({5, 4})}, [=](const In& in) {
          CrossEntropyOptions options{reduction, smoothing, -1, {}};
          if (weighted)
            options.weight = Tensor::from(std::vector{0.5, 2.0, 1.0, 0.25}).to(dtype).to(device);
          return cross_entropy(in[0], ids({3, 0, -1, 1, 1}), options);
        });

  add_row("reshape", {uniform({2, 6})}, [=](const In& in) { return reshape(in[0], {3, -1}); });
  add_row("transpose", {uniform({2, 3, 4})}, [=](const In& in) { return transpose(in[0], 0, -1); });
  add_row("permute", {uniform({2, 3, 4})}, [=](const In& in) {
    return permute(in[0], {1, -1, 0});
  });
  add_row("slice", {uniform({3, 7})}, [=](const In& in) { return slice(in[0], {1, 1, 6, 2}); });
  add_row("expand", {uniform({3, 1})}, [=](const In& in) { return expand(in[0], {2, 3, 4}); });
  add_row("cat", {uniform({2, 3}), uniform({2, 1}), uniform({2, 2})},
          [=](const In& in) { return cat(in, 1); });
  add_row("stack", {uniform({2, 3}), uniform({2, 3})}, [=](const In& in) { return stack(in, -1); });
  for (int dim : {0, 1, 2})
    add_row("index_select", {uniform({3, 3, 4})}, [=](const In& in) {
      return index_select(in[0], dim, ids({2, 0, 2, 1, 2}));
    });
  add_row("gather", {uniform({3, 2})}, [=](const In& in) {
    return gather(in[0], 0, ids({2, 0, 2, 1, 0, 0, 1, 1}, {4, 2}));
  });
  add_row("scatter_add", {uniform({3, 2}), uniform({4, 2})}, [=](const In& in) {
    return scatter_add(in[0], 0, ids({2, 0, 2, 1, 0, 0, 1, 1}, {4, 2}), in[1]);
  });
  add_row("embedding", {uniform({5, 3})}, [=](const In& in) {
    return embedding(in[0], ids({4, 0, 4, 1, 4, 2}, {2, 3}));
  });
  add_row("mean_pool", {uniform({6, 3})}, [=](const In& in) {
    return mean_pool(in[0], ids({0, 1, 4, 6}));
  });

  for (Transpose ta : {Transpose::no, Transpose::yes})
    for (Transpose tb : {Transpose::no, Transpose::yes})
      add_row("matmul",
              {uniform(ta == Transpose::yes ? Shape{2, 1, 4, 3} : Shape{2, 1, 3, 4}),
               uniform(tb == Transpose::yes ? Shape{2, 5, 4} : Shape{2, 4, 5})},
              [=](const In& in) { return matmul(in[0], in[1], ta, tb); });
  add_row("matmul", {uniform({4}), uniform({2, 4, 3})},
          [=](const In& in) { return matmul(in[0], in[1]); });
  add_row("matmul", {uniform({2, 3, 4}), uniform({4})},
          [=](const In& in) { return matmul(in[0], in[1]); });
  add_row("linear_cross_entropy", {uniform({5, 3}), uniform({4, 3}), uniform({4})},
          [=](const In& in) {
            return linear_cross_entropy(in[0], in[1], in[2], ids({3, 0, -100, 1, 1}));
          });
  add_row("linear", {uniform({2, 3, 4}), uniform({5, 4}), uniform({5})},
          [=](const In& in) { return linear(in[0], in[1], in[2]); });
  add_row("linear", {uniform({3, 4}), uniform({5, 4})},
          [=](const In& in) { return linear(in[0], in[1]); });
  add_row("layer_norm", {uniform({2, 3, 5}), uniform({5}), uniform({5})},
          [=](const In& in) { return layer_norm(in[0], in[1], in[2], 1e-5); });
  const ops::DropoutSite site{0.4, 7, 3};
  add_row("dropout", {uniform({4, 70})}, [=](const In& in) {
    return dropout(in[0], site, ids({1, 1, 2, 2}), ids({0, 1, 0, 1}));
  });
  for (double rate : {0.0, 0.4})
    add_row("attention", {uniform({5, 6}), uniform({5, 6}), uniform({5, 6})}, [=](const In& in) {
      const ops::AttentionRows packed{ids({0, 2, 5}), ids({0, 1, 0, 1, 2}), ids({0, 2, 5}),
                                      ids({11, 12})};
      return attention(in[0], in[1], in[2], packed, 2, {rate, 7, 3});
    });
  add_row("feed_forward",
          {uniform({2, 3, 4}), uniform({5, 4}), uniform({5}), uniform({3, 5}), uniform({3})},
          [=](const In& in) {
            return feed_forward(in[0], {in[1], in[2]}, {in[3], in[4]});
          });
  // A product is added to what another op has given as its input's gradient before.
  add_row("feed_forward",
          {uniform({2, 3, 4}), uniform({5, 4}), uniform({5}), uniform({4, 5}), uniform({4})},
          [=](const In& in) {
            const Variable x = gelu(in[0]), y = feed_forward(x, {in[1], in[2]}, {in[3], in[4]});
            return mul(x, x) + y;
          });
  for (double rate : {0.0, 0.4})
    add_row("residual_norm", {uniform({4, 5}), uniform({4, 5}), uniform({5}), uniform({5})},
            [=](const In& in) {
              return residual_norm(in[0], in[1], in[2], in[3], 1e-5, {rate, 7, 3},
                                   ids({1, 1, 2, 2}), ids({0, 1, 0, 1}));
            });
  for (bool first_only : {false, true}) {
    std::vector<Tensor> inputs{uniform({5, 6}), uniform({2, 6})};
    for (int i = 0; i < 3; ++i) {
      inputs.push_back(uniform({6, 6}, -1, 1));
      inputs.push_back(uniform({6}));
    }
    add_row("projected_attention", inputs, [=](const In& in) {
      const ops::AttentionRows all{ids({0, 2, 5}), ids({0, 1, 0, 1, 2}), ids({0, 2, 5}),
                                   ids({11, 12})};
      const ops::AttentionRows first{ids({0, 1, 2}), ids({0, 0}), ids({0, 2, 5}), ids({11, 12})};
      // Where all rows ask, the second input is another layer's, and x's gradient has a part before.
      const Variable x = gelu(in[0]);
      const Variable y =
          projected_attention(x, first_only ? in[1] : Variable(), {in[2], in[3]}, {in[4], in[5]},
                              {in[6], in[7]}, first_only ? first : all, 2, {0.4, 7, 3});
      return first_only ? y : mul(x, x) + y + sum(in[1]);
    });
  }
  add_row("checkpoint", {uniform({3, 4}), uniform({4, 4})}, [=](const In& in) {
    const Variable twice = matmul(in[0], in[1]);
    return checkpoint([](const Variable& x) { return mul(gelu(x), x); }, twice);
  });
  return rows;
}

}  // namespace minima::test
