/// What moves, converts and finds numbers on the device against the CPU; gradients of rows; what is refused.
#include <optional>

#include "autograd/functions.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/embedding.hpp"
#include "core/ops/finite.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/reduce.hpp"
#include "tests/device/device.hpp"
#include "tests/device/numbers.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

constexpr DType kAllTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16,
                               DType::i64, DType::i32, DType::u8};

}  // namespace

TEST_CASE("types convert and are filled on the device as on the CPU") {
  const Tensor x = Tensor::from(
      std::vector<float>{0, 1.5f, 200, -3.7f, 60000, 1e-7f, 3.1415927f, -1e30f, 1e30f, HUGE_VALF});
  for (DType from : kAllTypes)
    for (DType to : kAllTypes) {
      CAPTURE(dtype_name(from));
      CAPTURE(dtype_name(to));
      const Tensor source = x.to(from);
      CHECK(same_bytes(source.to(kDevice).to(to), source.to(to)));
      CHECK(same_bytes(Tensor::full({300}, 3, to, kDevice), Tensor::full({300}, 3, to)));
    }
  for (double value : {70000.0, HUGE_VAL, std::nan("")}) {
    const Tensor x = Tensor::full({2}, value);
    for (DType to : {DType::f16, DType::i64, DType::i32, DType::u8})
      CHECK(same_bytes(x.to(kDevice).to(to), x.to(to)));
  }
}

TEST_CASE("elements of every width are moved and looked up on the device as on the CPU") {
  const Tensor ids = Tensor::from(std::vector<i64>{2, 0, 2}),
               places = Tensor::from(std::vector<i64>{1, 0, 2, 2, 0, 1}).reshape({2, 3});
  for (DType dtype : kAllTypes) {
    CAPTURE(dtype_name(dtype));
    Tensor x = Tensor::empty({3, 3});
    for (i64 i = 0; i < 9; ++i) x.data<float>()[i] = static_cast<float>(i);
    x = x.to(dtype);
    const Tensor there = x.to(kDevice);
    CHECK(same_bytes(ops::transpose(there, 0, 1), ops::transpose(x, 0, 1)));
    CHECK(same_bytes(ops::index_select(there, 0, ids.to(kDevice)), ops::index_select(x, 0, ids)));
    CHECK(same_bytes(
        ops::gather(ops::slice(there, {.dim = 0, .begin = 0, .end = 2}), 1, places.to(kDevice)),
        ops::gather(ops::slice(x, {.dim = 0, .begin = 0, .end = 2}), 1, places)));
  }
}

TEST_CASE("a view that begins at any element is looked up, converted and computed with") {
  const Tensor ids = Tensor::from(std::vector<i64>{2, 0, 2});
  for (DType dtype : kAllTypes)
    for (const i64 width : {1, 2, 4, 8}) {
      CAPTURE(dtype_name(dtype));
      CAPTURE(width);
      Tensor x = Tensor::empty({1 + 3 * width});
      for (i64 i = 0; i < x.size(); ++i) x.data<float>()[i] = static_cast<float>(i);
      x = x.to(dtype);
      const auto rows = [&](const Tensor& all) {
        return all.rows(1, all.size()).reshape({3, width});
      };
      const auto check_same = [&](const auto& f) {
        CHECK(same_bytes(f(rows(x.to(kDevice)), ids.to(kDevice)), f(rows(x), ids)));
      };
      check_same([](const Tensor& x, const Tensor& ids) { return ops::index_select(x, 0, ids); });
      for (DType to : kAllTypes)
        check_same([to](const Tensor& x, const Tensor&) { return x.to(to); });
      if (dtype != DType::f32 && dtype != DType::f64) continue;
      check_same([](const Tensor& x, const Tensor&) { return ops::binary<ops::Mul>(x, x); });
      check_same([](const Tensor& x, const Tensor& ids) {
        return ops::embedding_backward(x, ids, {}, 3).to_dense(x.shape());
      });
    }
}

TEST_CASE("a copy between views of the same elements is refused on the device") {
  Tensor x = Tensor::zeros({4, 2}).to(kDevice);
  Tensor lower = x.rows(1, 4);
  CHECK_THROWS_AS(lower.copy_from(x.rows(0, 3)), Error);
  Tensor end = x.rows(2, 4);
  end.copy_from(x.rows(0, 2));
  x.copy_from(x);
}

TEST_CASE("the gradient of a table are the rows looked up, with room for the most there may be") {
  const i64 entries = 12;
  const Tensor ids = Tensor::from(std::vector<i64>{7, 3, 7, 0, 11, 3, 7, 5}),
               dy = normal({8, 40}, "dy");
  for (DType dtype : {DType::f64, DType::f32})
    for (const std::optional<i64> padding : {std::optional<i64>(), std::optional<i64>(5)}) {
      const Gradient expected = ops::embedding_backward(dy.to(dtype), ids, padding, entries);
      const Gradient found =
          ops::embedding_backward(dy.to(dtype).to(kDevice), ids.to(kDevice), padding, entries);
      REQUIRE(found.kind() == Gradient::Kind::rows);
      CHECK(found.ids().size() == 8);
      const i64 given = expected.ids().size();
      CHECK(same_bytes(found.ids().rows(0, given), expected.ids()));
      CHECK(same_bytes(found.values().rows(0, given), expected.values()));
      const Tensor beyond = found.ids().rows(given, 8).to(Device{});
      for (i64 id : beyond.span<i64>()) CHECK(id == entries);
      const Tensor left = found.values().rows(given, 8).to(Device{});
      CHECK(same_bytes(left, Tensor::zeros(left.shape(), dtype)));
    }
  std::vector<i64> many(2500);  // three tiles of places, and more places than rows
  for (std::size_t k = 0; k < many.size(); ++k) many[k] = static_cast<i64>(k * k % 5);
  const Tensor places = Tensor::from(many), large = normal({2500, 3}, "large");
  const Gradient expected = ops::embedding_backward(large, places, {}, 5);
  const Gradient found = ops::embedding_backward(large.to(kDevice), places.to(kDevice), {}, 5);
  CHECK(same_bytes(found.ids().rows(0, expected.ids().size()), expected.ids()));
  CHECK(same_bytes(found.to_dense({5, 3}), expected.to_dense({5, 3})));
}

TEST_CASE(
    "gradients of rows and dense ones are added on the device as on the CPU, and nothing waits") {
  using Ids = std::vector<i64>;
  const auto rows = [](const Ids& ids, const char* name, Device device) {
    return ops::embedding_backward(normal({std::ssize(ids), 40}, name).to(device),
                                   Tensor::from(ids).to(device), {}, 9);
  };
  const auto dense = [](const char* name, Device device) {
    return Gradient(normal({9, 40}, name).to(device));
  };
  const auto sums = [&](Device device) {
    std::vector<Gradient> all{rows({4, 1, 4}, "a", device), rows({8, 1}, "b", device),
                              dense("c", device)};
    all[0].add(rows({3, 4}, "d", device));
    all[0].add(rows({0, 1, 2, 3, 4, 5, 6, 7, 8}, "e", device));  // and no more places than rows
    all[1].add(dense("f", device));
    all[2].add(rows({2, 0, 2}, "g", device));
    return all;
  };
  const i64 before = test::waits();
  const std::vector<Gradient> found = sums(kDevice);
  CHECK(test::waits() == before);
  const std::vector<Gradient> expected = sums(Device{});
  CHECK(found[0].kind() == Gradient::Kind::rows);
  CHECK(found[0].ids().size() == 9);
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(same_bytes(found[i].to_dense({9, 40}), expected[i].to_dense({9, 40})));
}

TEST_CASE("a value that is not finite is found on the device") {
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    CAPTURE(dtype_name(dtype));
    Tensor x = Tensor::zeros({5000});
    CHECK(ops::first_non_finite(x.to(dtype).to(kDevice)) == -1);
    x.data<float>()[4000] = HUGE_VALF;
    x.data<float>()[777] = std::nanf("");
    CHECK(ops::first_non_finite(x.to(dtype).to(kDevice)) == 777);
  }
}

TEST_CASE("a sum over any dimension of a tensor without elements is that of the CPU") {
  for (const Shape& shape : {Shape{7, 0}, Shape{0, 7}, Shape{3, 0, 5}})
    for (int dim = 0; dim < shape.rank(); ++dim) {
      CAPTURE(shape);
      CAPTURE(dim);
      const Tensor x = Tensor::empty(shape);
      CHECK(same_bytes(ops::sum(x.to(kDevice), {dim}), ops::sum(x, {dim})));
    }
}

TEST_CASE("the place of the largest element is the same on the device") {
  const Tensor x = normal({7, 300, 2}, "x");
  for (DType dtype : {DType::f64, DType::f32})
    for (int dim : {0, 1, 2})
      CHECK(same_bytes(ops::argmax(x.to(dtype).to(kDevice), dim), ops::argmax(x.to(dtype), dim)));
}

TEST_CASE("a wrong id on the device is an error that names the op, when its result is read") {
  const Tensor w = Tensor::zeros({5, 3}, DType::f32, kDevice);
  const Tensor bad = Tensor::from(std::vector<i64>{1, 5}).to(kDevice);
  const Variable y = embedding(Variable(w), bad);
  CHECK_THROWS_WITH_AS(
      y.value().to(Device{}),
      fmt::format("embedding: id: 5 is outside of 0 … 4 (found on {})", to_string(kDevice)).c_str(),
      Error);
  CHECK_NOTHROW(w.to(Device{}));  // told once
  const Variable loss = cross_entropy(Variable(Tensor::zeros({2, 3}, DType::f32, kDevice)), bad);
  CHECK_THROWS_WITH_AS(
      loss.value().to(Device{}),
      fmt::format("cross_entropy: target: 5 is outside of 0 … 2 (found on {})", to_string(kDevice))
          .c_str(),
      Error);
  const Variable rows(Tensor::zeros({6, 2}, DType::f32, kDevice));
  for (const auto& [offsets, wrong] :
       {std::pair(std::vector<i64>{0, 4, 2, 6}, 2), {{0, 4, 5}, 5}, {{1, 4, 6}, 1}}) {
    const Variable pooled = mean_pool(rows, Tensor::from(offsets).to(kDevice));
    CHECK_THROWS_WITH_AS(pooled.value().to(Device{}),
                         fmt::format("mean_pool: offset {} is wrong; offsets must rise from 0 to "
                                     "the 6 rows (found on {})",
                                     wrong, to_string(kDevice))
                             .c_str(),
                         Error);
  }
}

TEST_CASE("operands on two devices are refused by name") {
  const Tensor here = Tensor::zeros({3, 3}), there = here.to(kDevice);
  CHECK_THROWS_WITH_AS(
      ops::matmul(here, there),
      fmt::format("matmul: operands are on cpu and {}; they must be together", to_string(kDevice))
          .c_str(),
      Error);
  CHECK_THROWS_AS(add(Variable(here), Variable(there)), Error);
  CHECK_THROWS_AS(Tensor::stacked({here, there}), Error);
  CHECK_THROWS_AS(Gradient::rows(test::ids({0, 1, 2}), there), Error);
  Parameter w{"w", there, {}};
  CHECK_THROWS_AS(Variable(w).backward(here), Error);
  CHECK_THROWS_AS(Tensor::zeros({1}, DType::f32, {Device::Kind::cuda, 999}), Error);
}
