#include "core/ops/linear_cross_entropy.hpp"

#include "core/buffer.hpp"
#include "core/ops/cross_entropy.hpp"
#include "core/ops/matmul.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::check_close;

namespace {

constexpr Gradients kAll{true, true, true}, kNone{false, false, false};

Tensor floats(const Shape& shape, std::string_view name) {
  return test::normal(shape, name).to(DType::f32);
}

Tensor some_targets(i64 rows, i64 classes) {
  RandomSequence random(4, "targets");
  std::vector<i64> targets;
  for (i64 i = 0; i < rows; ++i)
    targets.push_back(static_cast<i64>(random.below(static_cast<u64>(classes))));
  return Tensor::from(targets);
}

}  // namespace

TEST_CASE("linear_cross_entropy is the linear layer and cross_entropy one after the other") {
  const i64 classes = 20'000, chunk = linear_cross_entropy_chunk(classes);
  for (const i64 rows : {i64{1}, chunk, 2 * chunk + 3}) {
    const Tensor x = floats({rows, 6}, "x"), w = floats({classes, 6}, "w"),
                 bias = floats({classes}, "bias");
    Tensor targets = some_targets(rows, classes);
    if (rows > 1) targets.data<i64>()[1] = targets.data<i64>()[rows - 1] = -100;  // not counted
    const Tensor logits = linear(x, w, bias);
    const CrossEntropyOut whole = cross_entropy(logits, targets, {});
    const Tensor dz = cross_entropy_backward(Tensor::scalar(1.0f), logits, targets, {}, whole);

    const LinearCrossEntropyOut out = linear_cross_entropy(x, w, bias, targets, kAll);
    check_close(out.loss, whole.loss);
    check_close(out.dx, linear_input_gradient(dz, w), {1e-7, 1e-4});
    check_close(out.dw, linear_weight_gradient(dz, x), {1e-7, 1e-4});
    check_close(out.dbias, column_sums(dz), {1e-7, 1e-4});
    const LinearCrossEntropyOut forward = linear_cross_entropy(x, w, bias, targets, kNone);
    CHECK(forward.loss.item() == out.loss.item());
    CHECK_FALSE(forward.dw.defined());
    for (const Gradients one :
         {Gradients{true, false, false}, {false, true, false}, {false, false, true}}) {
      const LinearCrossEntropyOut part = linear_cross_entropy(x, w, bias, targets, one);
      for (const auto& [needed, gradient, expected] : {std::tuple{one.dx, part.dx, out.dx},
                                                       {one.dw, part.dw, out.dw},
                                                       {one.dbias, part.dbias, out.dbias}}) {
        CHECK(gradient.defined() == needed);
        if (needed) check_close(gradient, expected, {0, 0});
      }
    }
  }
}

TEST_CASE("linear_cross_entropy never holds the logits of all rows") {
  const i64 classes = 20'000, rows = 10 * linear_cross_entropy_chunk(classes);
  const Tensor x = floats({rows, 2}, "x"), w = floats({classes, 2}, "w"),
               bias = floats({classes}, "bias"), targets = some_targets(rows, classes);
  reset_peak_memory();
  const i64 before = memory_stats().live;
  linear_cross_entropy(x, w, bias, targets, kAll);
  CHECK(memory_stats().peak - before < rows * classes * 4 / 5);
}

TEST_CASE(
    "linear_cross_entropy of no rows, or of none that counts, is 0, and so are its gradients") {
  const Tensor w = floats({5, 3}, "w"), bias = floats({5}, "bias");
  const LinearCrossEntropyOut out =
      linear_cross_entropy(Tensor::zeros({0, 3}), w, bias, some_targets(0, 5), kAll);
  const auto check_zero = [](const LinearCrossEntropyOut& out) {
    CHECK(out.loss.item() == 0);
    check_close(out.dw, Tensor::zeros({5, 3}), {0, 0});
    check_close(out.dbias, Tensor::zeros({5}), {0, 0});
  };
  check_zero(out);
  check_zero(linear_cross_entropy(floats({2, 3}, "x"), w, bias,
                                  Tensor::from(std::vector<i64>{-100, -100}), kAll));
}

TEST_CASE("linear_cross_entropy names what does not fit") {
  CHECK_THROWS_WITH_AS(
      linear_cross_entropy(Tensor::zeros({2, 3}), Tensor::zeros({5, 4}), Tensor::zeros({5}),
                           some_targets(2, 5), kNone),
      "linear_cross_entropy: x is [2, 3], w [5, 4], bias [5], targets [2]; they must be [M, d], "
      "[C, d], [C] and [M]",
      Error);
  CHECK_THROWS_WITH_AS(
      linear_cross_entropy(Tensor::zeros({2, 3}), Tensor::zeros({5, 3}),
                           Tensor::zeros({5}, DType::f64), some_targets(2, 5), kNone),
      "linear_cross_entropy: x is f32, w f32, bias f64; they must have one type", Error);
}
