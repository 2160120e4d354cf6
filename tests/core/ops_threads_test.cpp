/// The same bits for any number of threads, for every op that sums.
#include <functional>

#include "core/cpu/threads.hpp"
#include "core/ops/cross_entropy.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/feed_forward.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/pool.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/residual_norm.hpp"
#include "core/ops/softmax.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;

namespace {

Tensor floats(const Shape& shape) {
  return test::normal(shape, fmt::format("{}", shape.size())).to(DType::f32);
}

Tensor random_ids(i64 n, u64 below) {
  RandomSequence sequence(below, "ids");
  Tensor ids = Tensor::empty({n}, DType::i64);
  for (i64& id : ids.span<i64>()) id = static_cast<i64>(sequence.below(below));
  return ids;
}

}  // namespace

TEST_CASE("one, two and three threads give the same bits") {
  const Tensor x = floats({700, 301}), y = floats({700, 301}), row = floats({301});
  const Tensor wide = unary<Exp>(x.to(DType::f64));  // 53 bits: their sums must round
  const Tensor ids = random_ids(700, 40), labels = random_ids(700, 301);
  const Tensor offsets = Tensor::from(std::vector<i64>{0, 1, 30, 650, 700});
  const FeedForwardWeights net{floats({600, 301}), floats({600}), floats({301, 600}), row};
  const DropoutSite site{0.3, 5, 2};
  const std::pair<std::string, std::function<Tensor()>> ops[] = {
      // In f64 too: sums in double that are rounded to float hide their order.
      {"sum of all in f64", [&] { return sum(wide); }},
      {"sum of columns in f64", [&] { return sum(wide, {0}); }},
      {"sum of all", [&] { return sum(x); }},
      {"sum of rows", [&] { return sum(x, {1}); }},
      {"sum of columns", [&] { return sum(x, {0}); }},
      {"mean of columns", [&] { return mean(x, {0}); }},
      {"var", [&] { return var(x, {1}); }},
      {"logsumexp", [&] { return logsumexp(x, {0}); }},
      {"norm", [&] { return norm(x); }},
      {"amax", [&] { return amax(x, {0}); }},
      {"gelu", [&] { return unary<Gelu>(x); }},
      {"mul, gradient of a row", [&] { return binary_backward_b<Mul>(y, x, row); }},
      {"softmax", [&] { return softmax(x, -1); }},
      {"softmax backward", [&] { return softmax_backward(y, x, -1); }},
      {"log_softmax along columns", [&] { return log_softmax(x, 0); }},
      {"embedding backward", [&] { return embedding_backward(x, ids, {}, 1 << 20).values(); }},
      {"index_select backward",
       [&] {
         return index_select_backward(x, {40, 301}, 0, ids);
       }},
      {"cross_entropy", [&] { return cross_entropy(x, labels, {}).loss; }},
      {"cross_entropy backward",
       [&] {
         return cross_entropy_backward(Tensor::scalar(1.0f), x, labels, {},
                                       cross_entropy(x, labels, {}));
       }},
      {"mean_pool", [&] { return mean_pool(x, offsets); }},
      {"matmul", [&] { return matmul(x, y, Transpose::yes, Transpose::no); }},
      {"column_sums", [&] { return column_sums(x); }},
      {"layer_norm", [&] { return layer_norm(x, row, row, 1e-5).y; }},
      {"layer_norm backward",
       [&] {
         const LayerNormResult out = layer_norm(x, row, row, 1e-5);
         return layer_norm_backward(y, x, row, out.mean, out.rstd).dgamma;
       }},
      {"feed_forward", [&] { return feed_forward(x, net).y; }},
      {"feed_forward backward",
       [&] { return feed_forward_backward(x, x, feed_forward(x, net).h.clone(), net, true).db1; }},
      {"residual_norm", [&] { return residual_norm(x, y, row, row, 1e-5, site, ids, labels).y; }},
      {"residual_norm backward",
       [&] {
         return residual_norm_backward(y, residual_norm(x, y, row, row, 1e-5, site, ids, labels),
                                       row, site, ids, labels)
             .dgamma;
       }},
  };
  const int before = threads();
  for (const auto& [name, op] : ops) {
    CAPTURE(name);
    set_threads(1);
    const Tensor expected = op();
    for (int count : {2, 3}) {
      CAPTURE(count);
      set_threads(count);
      const Tensor actual = op();
      CHECK(test::same_bits(actual, expected));
    }
  }
  set_threads(before);
}

TEST_CASE("what a task throws reaches the caller, and the threads go on working") {
  const int before = threads();
  for (int n : {1, 3}) {
    set_threads(n);
    CHECK_THROWS_WITH_AS(parallel_for(100, [](i64 i) { check(i != 57, "task {} failed", i); }),
                         "task 57 failed", Error);
    std::vector<int> called(100);
    parallel_for(100, [&](i64 i) { ++called[static_cast<std::size_t>(i)]; });
    CHECK(std::ranges::count(called, 1) == 100);
  }
  set_threads(before);
}

TEST_CASE("after a task has failed no other is begun, and the lowest one's error is thrown") {
  const int before = threads();
  for (int n : {1, 3}) {
    set_threads(n);
    std::atomic<int> called = 0;
    const auto failing = [&](i64 i) {
      ++called;
      fail("task {} failed", i);
    };
    CHECK_THROWS_WITH_AS(parallel_for(100, failing), "task 0 failed", Error);
    CHECK(called <= n);
  }
  set_threads(before);
}
