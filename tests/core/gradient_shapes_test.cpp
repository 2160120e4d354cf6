/// A gradient that is not of the op's result is refused before anything is read.
#include "core/ops/attention.hpp"
#include "core/ops/cross_entropy.hpp"
#include "core/ops/dropout.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/feed_forward.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/linear_cross_entropy.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/pool.hpp"
#include "core/ops/residual_norm.hpp"
#include "core/ops/softmax.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::error_of;
using test::ids;

namespace {

Tensor zeros(const Shape& shape) { return Tensor::zeros(shape); }

}  // namespace

TEST_CASE("a gradient of another shape than the result is refused by name") {
  const Tensor dy = zeros({30, 7}), y = zeros({2, 7});
  const std::string one_shape =
      "the gradient is [30, 7], the result [2, 7]; they must have one shape";
  CHECK(error_of([&] { softmax_backward(dy, y, 1); }) == "softmax: " + one_shape);
  CHECK(error_of([&] { softmax_backward(dy, y, 0); }) == "softmax: " + one_shape);
  CHECK(error_of([&] { log_softmax_backward(dy, y, 1); }) == "log_softmax: " + one_shape);
  CHECK(error_of([&] { unary_backward<Gelu>(dy, y); }) == "gelu: " + one_shape);
  CHECK(error_of([&] { binary_backward_a<Mul>(dy, y, zeros({7})); }) == "mul: " + one_shape);
  CHECK(error_of([&] { binary_backward_b<Div>(dy, zeros({7}), y); }) == "div: " + one_shape);
  CHECK(error_of([&] { slice_backward(dy, {4, 7}, {0, 1, 3}); }) == "slice: " + one_shape);
  CHECK(error_of([&] {
          index_select_backward(dy, {4, 7}, 0, ids({1, 3}));
        }) == "index_select: " + one_shape);
  CHECK(error_of([&] {
          index_select_backward(y, {4, 7}, 0, ids({1, 4}));
        }) == "index_select: id 4 is outside of 0 … 3");
  CHECK(error_of([&] { layer_norm_backward(dy, y, zeros({7}), zeros({2}), zeros({2})); }) ==
        "layer_norm: " + one_shape);
  CHECK(error_of([&] { layer_norm_backward(y, y, zeros({7}), zeros({1}), zeros({2})); }) ==
        "layer_norm: x is [2, 7], gamma [7], means [1], deviations [2]; they must be those of the "
        "forward");
  const auto of_residual = [&](const Tensor& dy, ResidualNormResult kept, i64 means, i64 rstds) {
    kept.mean = zeros({means}), kept.rstd = zeros({rstds});
    return error_of([&] { residual_norm_backward(dy, kept, zeros({7}), {}, {}, {}); });
  };
  ResidualNormResult kept;
  kept.sum = y;
  CHECK(of_residual(y, kept, 2, 2).empty());
  CHECK(of_residual(dy, kept, 2, 2) == "residual_norm: " + one_shape);
  for (const auto& [means, rstds] : {std::pair(1, 2), {2, 1}, {30, 30}})
    CHECK(of_residual(y, kept, means, rstds) ==
          fmt::format("residual_norm: the sum is [2, 7], gamma [7], means [{}], deviations [{}]; "
                      "they must be those of the forward",
                      means, rstds));
}

TEST_CASE("the gradients of a product are of its operands alone") {
  const Tensor dy = zeros({30, 7});
  CHECK(error_of([&] {
          linear_input_gradient(dy, zeros({2, 2}));
        }) ==
        "linear: the gradient is [30, 7], w [2, 2]; the last size of the gradient must equal the "
        "first of w");
  for (const auto& gradient :
       {+[](const Tensor&of, const Tensor&x) { linear_weight_gradient(of, x); },
        +[](const Tensor&of, const Tensor&x) { linear_gradients(of, x); }})
    CHECK(error_of([&] {
            gradient(dy, zeros({1, 3}));
          }) == "linear: the gradient is [30, 7], x [1, 3]; they must have as many rows");
  const FeedForwardWeights weights{zeros({5, 3}), zeros({5}), zeros({3, 5}), zeros({3})};
  CHECK(error_of([&] {
          feed_forward_backward(zeros({4, 3}), zeros({4, 3}), zeros({2, 5}), weights, true, {});
        }).starts_with("feed_forward: the gradient is [4, 3], x [4, 3], the hidden layer [2, 5]"));
}

TEST_CASE("the gradients of a loss, a mean, a table and attention are of what was given") {
  const Tensor logits = zeros({4, 3}), target = ids({0, 1, 2, 0});
  const CrossEntropyOut kept = cross_entropy(logits, target, {});
  CHECK(
      error_of([&] { cross_entropy_backward(zeros({4}), logits, target, {}, kept); })
          .starts_with("cross_entropy: the gradient is [4], logits [4, 3], targets [4]; they must "
                       "be [], [N, C] and [N]"));
  CHECK(error_of([&] {
          cross_entropy_backward(zeros({}), zeros({9, 3}), target, {}, kept);
        }).starts_with("cross_entropy: the gradient is [], logits [9, 3]"));
  CHECK(error_of([&] {
          mean_pool_backward(zeros({3, 2}), ids({0, 4}), 4);
        }) == "mean_pool: the gradient is [3, 2], offsets [2]; they must be [B, d] and [B+1]");
  CHECK(error_of([&] {
          embedding_backward(zeros({3, 2}), ids({0, 4}), {}, 5);
        }) == "embedding: the gradient is [3, 2], ids [2]; it must have a row for each");

  const Tensor x = zeros({5, 6}), offsets = ids({0, 5}), positions = ids({0, 1, 2, 3, 4});
  const AttentionRows rows{offsets, positions, offsets, ids({0})};
  const AttentionResult result = attention(x, x, x, rows, 2, {});
  CHECK(error_of([&] {
          attention_backward(zeros({2, 6}), x, x, x, result, rows, 2, {});
        }) == "attention: the gradient is [2, 6], the result [5, 6]; they must have one shape");
  CHECK(
      error_of([&] {
        attention_backward(zeros({2, 6}), x, x, x, {zeros({2, 6}), result.log_sum}, rows, 2, {});
      }) ==
      "attention: q is [5, 6], the result [2, 6], its 2 heads' sums [2, 5]; they must be those of "
      "the forward");
  for (const Tensor& sums : {zeros({1, 5}), zeros({5, 2})})
    CHECK(error_of([&] {
            attention_backward(x, x, x, x, {result.y, sums}, rows, 2, {});
          }).ends_with("they must be those of the forward"));
  const Tensor narrow = zeros({5, 4});
  CHECK(error_of([&] { attention_backward(x, x, x, x, result, rows, 2, {}, x, narrow, x); }) ==
        "attention: [5, 6] is given room of [5, 4] for its gradient");
}

TEST_CASE("an operand of another type is refused by the op's name") {
  const Tensor x = zeros({2, 4}), w = zeros({4, 4}), b = zeros({4});
  const Tensor wide = b.to(DType::f64), counts = Tensor::zeros({2}, DType::i32);
  const std::string floats = "one operand is f32, the other f64; convert one of them";
  const std::string whole = "are i32; they must be i64";
  CHECK(error_of([&] { linear(x, w, wide); }) == "linear: " + floats);
  CHECK(error_of([&] { linear(x, w, b.to(DType::i64)); }) ==
        "linear: one operand is f32, the other i64; convert one of them");
  CHECK(error_of([&] { layer_norm(x, b, wide, 0); }) == "layer_norm: " + floats);
  CHECK(error_of([&] { residual_norm(x, x.to(DType::f64), b, b, 0, {}, {}, {}); }) ==
        "residual_norm: " + floats);
  CHECK(error_of([&] {
          feed_forward(x, {w, b, w.to(DType::f64), b});
        }) == "feed_forward: " + floats);
  CHECK(error_of([&] { dropout(x, {.rate = 0.5}, counts, counts); }) ==
        "dropout: example ids " + whole);
  CHECK(error_of([&] { mean_pool(x, counts); }) == "mean_pool: offsets " + whole);
  CHECK(error_of([&] { linear_cross_entropy(x, w, b, counts, {}); }) ==
        "linear_cross_entropy: targets " + whole);
}
