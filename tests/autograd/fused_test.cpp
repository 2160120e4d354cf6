/// Ops that are several layers in one, against those layers: forward and backward, on the shapes of
/// an encoder.
#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

constexpr i64 kRows = 75, kDim = 96, kHidden = 200;

Tensor random(const Shape& shape, u64 seed, double deviation = 1) {
  RandomSequence sequence(seed, "fused");
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>()) value = static_cast<float>(deviation * sequence.normal());
  return x;
}

/// Three texts.
ops::AttentionRows texts() {
  std::vector<i64> positions;
  for (i64 length : {20, 1, 54})
    for (i64 i = 0; i < length; ++i) positions.push_back(i);
  const Tensor offsets = Tensor::from(std::vector<i64>{0, 20, 21, kRows});
  return {offsets, Tensor::from(positions), offsets, Tensor::from(std::vector<i64>{7, 3, 5})};
}
Tensor row_example() {
  std::vector<i64> ids(kRows, 5);
  std::fill_n(ids.begin(), 20, 7);
  ids[20] = 3;
  return Tensor::from(ids);
}

using Function = std::function<Variable(std::vector<Parameter>&)>;

/// The value and all gradients, for a gradient dy that comes in.
std::vector<Tensor> run(std::vector<Parameter> parameters, const Function& function) {
  const Variable y = function(parameters);
  y.backward(random(y.shape(), 99));
  std::vector<Tensor> results{y.value()};
  for (const Parameter& parameter : parameters) results.push_back(parameter.gradient.values());
  return results;
}

std::vector<Parameter> parameters(const std::vector<Shape>& shapes) {
  std::vector<Parameter> result;
  for (const Shape& shape : shapes)
    result.push_back({"", random(shape, result.size(), shape.rank() > 1 ? 0.3 : 1), {}, true});
  return result;
}

void check_same(const std::vector<Parameter>& in, const Function& fused, const Function& layers,
                double tolerance) {
  const std::vector<Tensor> actual = run(in, fused), expected = run(in, layers);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    test::check_close(actual[i], expected[i], {tolerance, tolerance});
  }
}

using In = std::vector<Parameter>&;

}  // namespace

TEST_CASE("a feed-forward net gives the bits of two linear layers with GELU between them") {
  check_same(
      parameters({{kRows, kDim}, {kHidden, kDim}, {kHidden}, {kDim, kHidden}, {kDim}}),
      [](In p) {
        return feed_forward(p[0], {p[1], p[2]}, {p[3], p[4]});
      },
      [](In p) { return linear(gelu(linear(p[0], p[1], p[2])), p[3], p[4]); }, 0);
}

TEST_CASE("a checkpoint gives the bits of what it computes, also where sums are added in parts") {
  constexpr i64 kLong = 600;  // more than a product adds up in registers
  const auto block = [](In p) {
    return [&p](const Variable& x) {
      const Variable y = feed_forward(x, {p[1], p[2]}, {p[3], p[4]});
      return gelu(x) + y;  // gelu, made last, gives its share of x's gradient first
    };
  };
  check_same(
      parameters({{kRows, kDim}, {kLong, kDim}, {kLong}, {kDim, kLong}, {kDim}}),
      [=](In p) { return checkpoint(block(p), gelu(p[0])); },
      [=](In p) { return block(p)(gelu(p[0])); }, 0);
}

TEST_CASE("residual_norm gives the bits of dropout, addition and layer norm") {
  for (double rate : {0.0, 0.25}) {
    const ops::DropoutSite site{rate, 77, 3};
    const Tensor positions = texts().query_positions, examples = row_example();
    check_same(
        parameters({{kRows, kDim}, {kRows, kDim}, {kDim}, {kDim}}),
        [=](In p) {
          return residual_norm(p[0], p[1], p[2], p[3], 1e-12, site, examples, positions);
        },
        [=](In p) {
          return layer_norm(add(p[1], dropout(p[0], site, examples, positions)), p[2], p[3], 1e-12);
        },
        0);
  }
}

TEST_CASE("projected_attention is attention of three linear layers") {
  const ops::DropoutSite site{0.1, 12, 4};
  std::vector<Shape> shapes{{kRows, kDim}};
  for (int i = 0; i < 3; ++i) {
    shapes.push_back({kDim, kDim});
    shapes.push_back({kDim});
  }
  // The weights one after another in memory, as a model has them, and each on its own.
  std::vector<Parameter> apart = parameters(shapes), together = apart;
  for (std::size_t first : {1u, 2u}) {
    const Tensor all =
        Tensor::stacked({apart[first].value, apart[first + 2].value, apart[first + 4].value});
    const i64 rows = all.size(0) / 3;
    for (i64 i = 0; i < 3; ++i)
      together[first + 2 * static_cast<std::size_t>(i)].value = all.rows(i * rows, (i + 1) * rows);
  }
  const Function projected = [=](In p) {
    return projected_attention(p[0], {}, {p[1], p[2]}, {p[3], p[4]}, {p[5], p[6]}, texts(), 4,
                               site);
  };
  const std::vector<Tensor> one = run(apart, projected), other = run(together, projected);
  for (std::size_t i = 0; i < one.size(); ++i) test::check_close(other[i], one[i], {0, 0});
  check_same(
      parameters(shapes), projected,
      [=](In p) {
        const Variable x = p[0];
        return attention(linear(x, p[1], p[2]), linear(x, p[3], p[4]), linear(x, p[5], p[6]),
                         texts(), 4, site);
      },
      1e-5);

  ops::AttentionRows first = texts();
  first.query_offsets = Tensor::from(std::vector<i64>{0, 1, 2, 3});
  first.query_positions = Tensor::from(std::vector<i64>{0, 0, 0});
  const Tensor asking = Tensor::from(std::vector<i64>{0, 20, 21});
  check_same(
      parameters(shapes),
      [=](In p) {
        const Variable x = p[0];
        return projected_attention(x, index_select(x, 0, asking), {p[1], p[2]}, {p[3], p[4]},
                                   {p[5], p[6]}, first, 4, site);
      },
      [=](In p) {
        const Variable x = p[0];
        return attention(linear(index_select(x, 0, asking), p[1], p[2]), linear(x, p[3], p[4]),
                         linear(x, p[5], p[6]), first, 4, site);
      },
      1e-5);
}

TEST_CASE(
    "projected_attention refuses products of different sizes, whose columns would be mixed up") {
  const auto attend = [](i64 values, bool with_bias) {
    const LinearWeights q{random({4, 5}, 1), random({4}, 2)},
        v{random({values, 5}, 3), with_bias ? Variable(random({values}, 4)) : Variable()};
    return projected_attention(random({kRows, 5}, 5), {}, q, q, v, texts(), 2);
  };
  CHECK(attend(4, true).shape() == Shape{kRows, 4});
  CHECK_THROWS_WITH_AS(attend(10, true),
                       "projected_attention: wq is [4, 5], wk [4, 5], wv [10, 5], bq [4], bk [4], "
                       "bv [10]; the three products must have one shape",
                       Error);
  CHECK_THROWS_WITH_AS(attend(4, false), doctest::Contains("bv [0]"), Error);
}
