/// embedding, mean_pool, softmax and cross_entropy: what the reference cases do not reach.
#include "core/ops/cross_entropy.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/pool.hpp"
#include "core/ops/softmax.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::check_close;
using test::ids;

TEST_CASE("an embedding's gradient has each id once, ascending, summed in the order of places") {
  Tensor dy = Tensor::empty({5, 1});
  // (2²⁴ + 1) − 2²⁴ is 0 in float, while 2²⁴ − 2²⁴ + 1 is 1: the order shows.
  for (i64 i = 0; i < 5; ++i)
    dy.data<float>()[i] =
        std::vector{16777216.0f, 5.0f, 1.0f, -16777216.0f, 7.0f}[static_cast<std::size_t>(i)];
  const Gradient g = embedding_backward(dy, ids({9, 3, 9, 9, 0}), 0, 10);
  REQUIRE(g.kind() == Gradient::Kind::rows);
  CHECK(g.ids().data<i64>()[0] == 3);
  CHECK(g.ids().data<i64>()[1] == 9);
  check_close(g.values(), Tensor::from(std::vector{5.0f, 0.0f}, {2, 1}), {0, 0});
}

TEST_CASE("a batch of padding alone has a gradient without rows") {
  const Gradient g = embedding_backward(Tensor::zeros({3, 4}), ids({0, 0, 0}), 0, 10);
  CHECK(g.kind() == Gradient::Kind::rows);
  CHECK(g.ids().size() == 0);
}

TEST_CASE("an id beyond the table is named with its place") {
  CHECK_THROWS_WITH_AS(embedding(Tensor::zeros({4, 2}), ids({1, 4})),
                       "embedding: id 4 at place 1 is outside of 0 … 3, the rows of the table",
                       Error);
}

TEST_CASE("mean_pool refuses offsets that do not cover the rows, and empty texts") {
  const Tensor x = Tensor::zeros({4, 2});
  CHECK_THROWS_WITH_AS(mean_pool(x, ids({0, 3})),
                       "mean_pool: offsets go from 0 to 3; they must go from 0 to the 4 rows of x",
                       Error);
  CHECK_THROWS_WITH_AS(mean_pool(x, ids({0, 2, 2, 4})),
                       "mean_pool: text 1 goes from 2 to 2; it needs a row", Error);
  CHECK_THROWS_WITH_AS(mean_pool_backward(Tensor::zeros({1, 2}), ids({0, 3}), 4),
                       "mean_pool: offsets go from 0 to 3; they must go from 0 to the 4 rows of x",
                       Error);
}

TEST_CASE("the mean of many rows is as exact as that of few") {
  constexpr i64 rows = 300'000;
  const Tensor mean = mean_pool(Tensor::full({rows, 1}, 0.1), ids({0, rows}));
  CHECK(mean.item() == doctest::Approx(0.1).epsilon(1e-6));
}

TEST_CASE("softmax does not overflow, and a row that keeps nothing is 0") {
  const Tensor x = Tensor::from(std::vector{1000.0f, 1000.0f, -1000.0f, 3.0f}, {2, 2});
  check_close(softmax(x, -1), Tensor::from(std::vector{0.5f, 0.5f, 0.0f, 1.0f}, {2, 2}));
  const Tensor keep = Tensor::from(std::vector<i64>{0, 0, 1, 0}, {2, 2});
  check_close(softmax_masked(x, keep, -1),
              Tensor::from(std::vector{0.0f, 0.0f, 1.0f, 0.0f}, {2, 2}));
}

TEST_CASE("softmax_masked's mask broadcasts to x, and not beyond") {
  const Tensor x = test::normal({2, 3, 4}, "x");
  for (const Shape& shape : {Shape{4}, {3, 1}, {2, 1, 4}}) {
    CAPTURE(shape);
    Tensor keep = Tensor::full(shape, 1, DType::i64);
    keep.data<i64>()[1] = 0;
    CHECK(test::same_bits(softmax_masked(x, keep, -1),
                          softmax_masked(x, expand(keep, x.shape()), -1)));
  }
  CHECK_THROWS_WITH_AS(softmax_masked(x, Tensor::zeros({2, 2, 3, 4}), -1),
                       "softmax_masked: x is [2, 3, 4], keep [2, 2, 3, 4]; it must broadcast to x",
                       Error);
}

TEST_CASE("cross-entropy of ignored targets alone: their sum is 0, their mean no number") {
  const Tensor logits = Tensor::full({2, 3}, 1), none = ids({-100, -100});
  CHECK(cross_entropy(logits, none, {Reduction::sum, 0, -100, {}}).loss.item() == 0);
  CHECK(std::isnan(cross_entropy(logits, none, {}).loss.item()));
}

TEST_CASE(
    "cross_entropy and its gradient do not depend on what all logits of a row have in common") {
  const Tensor target = ids({1, 0, 2});
  const Tensor weight = Tensor::from(std::vector{0.5f, 2.0f, 1.0f});
  const CrossEntropyOptions options{Reduction::mean, 0.2, -100, weight};
  const auto both = [&](float shift) {
    std::vector<float> values;
    for (int i = 0; i < 9; ++i) values.push_back(shift + static_cast<float>(i * i % 7) / 4);
    const Tensor logits = Tensor::from(values, {3, 3});
    const CrossEntropyOut out = cross_entropy(logits, target, options);
    return std::pair{out.loss,
                     cross_entropy_backward(Tensor::scalar(1.0f), logits, target, options, out)};
  };
  const auto [loss, gradient] = both(0);
  for (float shift : {1e3f, -1e6f}) {  // multiples of a quarter are exact there
    CHECK(both(shift).first.item() == loss.item());
    check_close(both(shift).second, gradient, {0, 0});
  }
  const Tensor huge = Tensor::from(std::vector{90.0f, 1e30f, 1e30f}, {1, 3});
  const CrossEntropyOut out = cross_entropy(huge, ids({1}), {});
  CHECK(out.loss.item() == doctest::Approx(std::log(2.0)));
  check_close(cross_entropy_backward(Tensor::scalar(1.0f), huge, ids({1}), {}, out),
              Tensor::from(std::vector{0.0f, -0.5f, 0.5f}, {1, 3}));
}

TEST_CASE("cross-entropy names what does not fit") {
  CHECK_THROWS_WITH_AS(cross_entropy(Tensor::zeros({2, 3}), Tensor::zeros({2}), {}),
                       "cross_entropy: targets are f32; the numbers of classes are i64", Error);
  const Tensor logits = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH_AS(cross_entropy(logits, ids({0}), {}),
                       "cross_entropy: logits are [2, 3], targets [1]; they must be [N, C] and [N]",
                       Error);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, ids({0, 3}), {}),
                       "cross_entropy: target 3 is none of 3 classes, nor ignore_index -100",
                       Error);
  CrossEntropyOptions options;
  options.weight = Tensor::zeros({2});
  CHECK_THROWS_WITH_AS(cross_entropy(logits, ids({0, 1}), options),
                       "cross_entropy: weights must be one f32 for each of 3 classes", Error);
  options = {Reduction::mean, 1.5, -100, {}};
  CHECK_THROWS_WITH_AS(cross_entropy(logits, ids({0, 1}), options),
                       "cross_entropy: label_smoothing is 1.5; it must lie between 0 and 1", Error);
}
