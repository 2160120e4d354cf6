/// Mixed precision: what is rounded, what is kept, and what backward makes of it.
#include "autograd/autocast.hpp"

#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/buffer.hpp"
#include "core/ops/elementwise.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::same_bits;

namespace {

Tensor numbers(const Shape& shape, u64 seed) {
  Tensor x = Tensor::empty(shape);
  for (i64 i = 0; i < x.size(); ++i)
    x.data<float>()[i] = std::sin(static_cast<float>(37 * seed + 1) + 1.7f * static_cast<float>(i));
  return x;
}

Parameter parameter(const char* name, const Shape& shape, u64 seed) {
  return {.name = name, .value = numbers(shape, seed), .gradient = {}};
}

Tensor rounded(const Tensor& x, DType type) { return x.to(type).to(DType::f32); }

/// A feed-forward net and attention of 3 texts, and what they are made with.
struct Layers {
  Parameter x = parameter("x", {9, 8}, 1);
  Parameter w1 = parameter("w1", {12, 8}, 2), b1 = parameter("b1", {12}, 3);
  Parameter w2 = parameter("w2", {8, 12}, 4), b2 = parameter("b2", {8}, 5);
  Parameter wq = parameter("wq", {8, 8}, 6), wk = parameter("wk", {8, 8}, 7),
            wv = parameter("wv", {8, 8}, 8), w3 = parameter("w3", {12, 12}, 11);
  Parameter gamma = parameter("gamma", {8}, 9), beta = parameter("beta", {8}, 10);
  std::vector<Parameter*> all{&x, &w1, &b1, &w2, &b2, &wq, &wk, &wv, &gamma, &beta};
  Tensor offsets = Tensor::from(std::vector<i64>{0, 2, 5, 9});
  Tensor positions = Tensor::from(std::vector<i64>{0, 1, 0, 1, 2, 0, 1, 2, 3});
  Tensor examples = Tensor::from(std::vector<i64>{7, 8, 9});
  Tensor row_examples = Tensor::from(std::vector<i64>{7, 7, 8, 8, 8, 9, 9, 9, 9});
  ops::AttentionRows rows{offsets, positions, offsets, examples};
  ops::DropoutSite site{.rate = 0.2, .key = 3, .step = 2};

  std::vector<Tensor> gradients_of(const std::function<Variable()>& y) {
    for (Parameter* one : all) one->gradient.clear();
    const Variable result = y();
    std::vector<Tensor> values{result.value()};
    result.backward(numbers(result.shape(), 20));
    for (const Parameter* one : all)
      values.push_back(one->gradient ? one->gradient.values() : Tensor::zeros({0}));
    return values;
  }
};

}  // namespace

TEST_CASE(
    "a value that has been rounded to one narrow type is rounded to the other from its own bits") {
  const Variable x(numbers({9}, 1));
  for (const DType type : {DType::bf16, DType::f16, DType::bf16})
    CHECK(same_bits(x.value(type).to(DType::f32), rounded(numbers({9}, 1), type)));
}

TEST_CASE("a narrow product is that of rounded numbers, in forward and backward") {
  for (const DType type : {DType::bf16, DType::f16}) {
    Layers layers;
    Parameter &x = layers.x, &w = layers.w1, &b = layers.b1;
    const Tensor dy = numbers({9, 12}, 20);
    const auto grads = layers.gradients_of([&] {
      const Autocast narrow(type);
      return linear(x, w, b);
    });
    const Tensor rx = rounded(x.value, type), rw = rounded(w.value, type), rdy = rounded(dy, type);
    CHECK_FALSE(same_bits(rx, x.value));
    CHECK(same_bits(grads[0], rounded(ops::linear(rx, rw, b.value), type)));
    CHECK(same_bits(grads[1], ops::linear_input_gradient(rdy, rw)));
    CHECK(same_bits(grads[2], ops::linear_weight_gradient(rdy, rx)));
    CHECK(same_bits(grads[3], ops::column_sums(rdy)));

    const auto product = layers.gradients_of([&] {
      const Autocast narrow(type);
      return matmul(x, w, Transpose::no, Transpose::yes);
    });
    CHECK(same_bits(product[0], rounded(ops::matmul(rx, rw, Transpose::no, Transpose::yes), type)));
    CHECK(same_bits(product[1], ops::matmul(rdy, rw)));
  }
}

TEST_CASE("layers in one give what their parts give, also in narrow numbers") {
  Layers l;
  const auto compare = [&](const std::function<Variable()>& one,
                           const std::function<Variable()>& parts, double tolerance) {
    const auto a = l.gradients_of(one), b = l.gradients_of(parts);
    for (std::size_t i = 0; i < a.size(); ++i) {
      CAPTURE(i);
      test::check_close(a[i], b[i], {tolerance, tolerance});
    }
  };
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    CAPTURE(dtype_name(type));
    const Autocast narrow(type);
    compare(
        [&] {
          return feed_forward(l.x, {l.w1, l.b1}, {l.w2, l.b2});
        },
        [&] { return linear(gelu(linear(l.x, l.w1, l.b1)), l.w2, l.b2); }, 1e-5);
    const Variable none;
    compare(
        [&] {
          return projected_attention(l.x, {}, {l.wq, l.b2}, {l.wk, l.b2}, {l.wv, l.b2}, l.rows, 2,
                                     l.site);
        },
        [&] {
          return attention(linear(l.x, l.wq, l.b2), linear(l.x, l.wk, l.b2),
                           linear(l.x, l.wv, l.b2), l.rows, 2, l.site);
        },
        1e-5);
    // Of the sum alone the layer's parts know nothing: they do not round it.
    compare(
        [&] {
          return residual_norm(linear(l.x, l.wq), l.x, l.gamma, l.beta, 1e-6, l.site,
                               l.row_examples, l.positions);
        },
        [&] {
          const Variable x = linear(l.x, l.wq);
          return layer_norm(add(l.x, dropout(x, l.site, l.row_examples, l.positions)), l.gamma,
                            l.beta, 1e-6);
        },
        type == DType::f32    ? 1e-5
        : type == DType::bf16 ? 4e-2
                              : 5e-3);
  }
}

TEST_CASE("narrow numbers that wait for backward take half the bytes") {
  Layers l;
  i64 kept[2];
  const auto result_bytes = [](const Variable& y) {
    return y.shape().size() * element_size(y.dtype());
  };
  for (const bool narrow : {false, true}) {
    const Autocast products(narrow ? DType::bf16 : DType::f32);
    const i64 before = memory_stats().live;
    const Variable y = linear(gelu(linear(mul(l.x, l.x), l.w1)), l.w2);
    kept[narrow] = memory_stats().live - before - result_bytes(y);
  }
  // x², gelu's input and its result; the input belongs to gelu, which is no product. And the weights.
  CHECK(kept[0] == 4 * 9 * (8 + 12 + 12));
  CHECK(kept[1] == 2 * 9 * (8 + 12) + 4 * 9 * 12 + 2 * 2 * 8 * 12);

  for (const bool narrow : {false, true}) {
    const Autocast products(narrow ? DType::bf16 : DType::f32);
    const i64 before = memory_stats().live;
    const Variable y = feed_forward(mul(l.x, l.x), {l.w1, l.b1}, {l.w2, l.b2});
    kept[narrow] = memory_stats().live - before - result_bytes(y);
  }
  CHECK(kept[1] == kept[0] / 2 + 2 * 2 * 8 * 12);
}

TEST_CASE("what is rounded anyway is given in two bytes, and widened for those who ask for f32") {
  Layers l;
  const Autocast products(DType::bf16);
  const Variable y = linear(l.x, l.w1, l.b1);
  CHECK(y.dtype() == DType::bf16);
  CHECK(y.value(DType::bf16).dtype() == DType::bf16);
  CHECK(y.value().dtype() == DType::f32);
  CHECK(same_bits(y.value(), y.value(DType::bf16).to(DType::f32)));
  CHECK(y.value().shares_storage(y.value()));  // widened once

  const Variable norm = residual_norm(linear(l.x, l.wq), l.x, l.gamma, l.beta, 1e-6);
  CHECK(norm.dtype() == DType::f32);
  const i64 live = memory_stats().live;
  const Tensor for_products = norm.value(DType::bf16);
  CHECK(memory_stats().live == live);  // the norm gave it along
  CHECK(same_bits(for_products.to(DType::f32), rounded(norm.value(), DType::bf16)));
}

TEST_CASE("gradients of a narrow value from several sides are added in f32") {
  Layers l;
  const Tensor dy = numbers({9, 12}, 20);
  const auto of = [&](bool twice) {
    l.w1.gradient.clear();
    const Autocast products(DType::bf16);
    const Variable h = linear(l.x, l.w1);
    (twice ? add(gelu(h), linear(h, l.w3)) : gelu(h)).backward(dy);
    return l.w1.gradient.values();
  };
  const Tensor of_gelu = of(false), of_both = of(true);
  CHECK(of_both.dtype() == DType::f32);
  const Tensor h = rounded(ops::linear(rounded(l.x.value, DType::bf16),
                                       rounded(l.w1.value, DType::bf16), {}),
                           DType::bf16),
               by_gelu = ops::unary_backward<ops::Gelu>(dy, h),
               by_linear = rounded(ops::linear_input_gradient(rounded(dy, DType::bf16),
                                                              rounded(l.w3.value, DType::bf16)),
                                   DType::bf16);
  const auto expected = [&](const Tensor& dh) {
    return ops::linear_weight_gradient(rounded(dh, DType::bf16), rounded(l.x.value, DType::bf16));
  };
  CHECK(same_bits(of_gelu, expected(by_gelu)));
  CHECK(same_bits(of_both, expected(ops::binary<ops::Add>(by_gelu, by_linear))));
}

TEST_CASE("what a checkpoint computes again is of forward's precision") {
  Layers l;
  const auto net = [&](const Variable& x) { return feed_forward(x, {l.w1, l.b1}, {l.w2, l.b2}); };
  const auto run = [&](bool checkpointed) {
    return l.gradients_of([&] {
      const Autocast narrow(DType::bf16);
      return checkpointed ? checkpoint(net, l.x) : net(l.x);
    });
  };
  const auto plain = run(false), again = run(true);
  for (std::size_t i = 0; i < plain.size(); ++i) CHECK(same_bits(plain[i], again[i]));
  CHECK(autocast_type() == DType::f32);
}

TEST_CASE("products of f64 stay what they are") {
  Layers layers;
  for (Parameter* one : layers.all) one->value = one->value.to(DType::f64);
  const auto run = [&](DType type) {
    const Autocast products(type);
    Layers& l = layers;
    for (Parameter* one : l.all) one->gradient.clear();
    const Variable h = feed_forward(linear(l.x, l.wq), {l.w1, l.b1}, {l.w2, l.b2});
    const Variable a =
        projected_attention(h, {}, {l.wq, l.b2}, {l.wk, l.b2}, {l.wv, l.b2}, l.rows, 2, l.site);
    const Variable y =
        residual_norm(matmul(a, l.wk), attention(h, a, l.x, l.rows, 2), l.gamma, l.beta, 1e-5);
    sum(square(y)).backward();
    std::vector<Tensor> all{y.value()};
    for (const Parameter* one : l.all) all.push_back(one->gradient.values());
    return all;
  };
  const auto plain = run(DType::f32), narrow = run(DType::bf16);
  for (std::size_t i = 0; i < plain.size(); ++i) CHECK(same_bits(plain[i], narrow[i]));
}

TEST_CASE("f16 overflows where its numbers end, and a scaled gradient does not vanish") {
  Parameter x = parameter("x", {1, 2}, 1), w = parameter("w", {1, 2}, 2);
  const auto dx = [&](float dy) {
    x.gradient.clear();
    const Autocast narrow(DType::f16);
    linear(x, w).backward(Tensor::full({1, 1}, dy));
    return x.gradient.values().data<float>()[0];
  };
  CHECK(std::isinf(dx(70000)));
  CHECK(dx(1e-8f) == 0);
  CHECK(dx(1e-8f * 65536) / 65536 == test::about(1e-8 * w.value.data<float>()[0], 1e-2));
}

TEST_CASE("autocast is to f32, bf16 or f16") {
  CHECK_THROWS_WITH_AS(Autocast(DType::u8), doctest::Contains("f32, bf16 or f16"), Error);
  CHECK(autocast_type() == DType::f32);
  {
    const Autocast outer(DType::bf16);
    const Autocast inner(DType::f32);
    CHECK(autocast_type() == DType::f32);
  }
  CHECK(autocast_type() == DType::f32);
}
