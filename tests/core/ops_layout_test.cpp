#include "core/ops/layout.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::ids;

namespace {

/// 0, 1, 2, … in a shape.
template <class T>
Tensor counted(const Shape& shape) {
  Tensor x = Tensor::empty(shape, dtype_of<T>());
  for (i64 i = 0; i < x.size(); ++i) x.data<T>()[i] = static_cast<T>(i);
  return x;
}

template <class T>
std::vector<T> values(const Tensor& x) {
  return {x.data<T>(), x.data<T>() + x.size()};
}

}  // namespace

TEST_CASE_TEMPLATE("permute puts every element in its place, for every width of element", T, double,
                   float, i64, u8) {
  const Tensor x = counted<T>({2, 3, 4});
  const Tensor y = permute(x, {2, 0, 1});
  REQUIRE(y.shape() == Shape{4, 2, 3});
  for (i64 i = 0; i < 4; ++i)
    for (i64 j = 0; j < 2; ++j)
      for (i64 k = 0; k < 3; ++k)
        CHECK(y.data<T>()[(i * 2 + j) * 3 + k] == x.data<T>()[(j * 3 + k) * 4 + i]);
  CHECK(values<T>(permute(y, inverse_order({2, 0, 1}))) == values<T>(x));
  CHECK(values<T>(transpose(transpose(x, 0, -1), 0, 2)) == values<T>(x));
}

TEST_CASE("a large transpose is right in every task") {
  const Tensor x = counted<float>({300, 257});
  const Tensor y = transpose(x, 0, 1);
  bool same = true;
  for (i64 i = 0; i < 300; ++i)
    for (i64 j = 0; j < 257; ++j)
      same = same && y.data<float>()[j * 300 + i] == x.data<float>()[i * 257 + j];
  CHECK(same);
}

TEST_CASE("slice takes every step-th element, and its backward puts them back") {
  const Tensor x = counted<float>({2, 7});
  const Slice odd{1, 1, 7, 2};
  CHECK(values<float>(slice(x, odd)) == std::vector<float>{1, 3, 5, 8, 10, 12});
  CHECK(values<float>(slice_backward(slice(x, odd), x.shape(), odd)) ==
        std::vector<float>{0, 1, 0, 3, 0, 5, 0, 0, 8, 0, 10, 0, 12, 0});
  CHECK(slice(x, {0, 1, 1}).shape() == Shape{0, 7});
  CHECK(values<float>(slice(x, {1, 2, 7, std::numeric_limits<i64>::max()})) ==
        std::vector<float>{2, 9});
}

TEST_CASE("cat and stack join along every dimension, whatever the sizes") {
  const Tensor a = counted<i64>({2, 2}), b = counted<i64>({2, 1}), none = counted<i64>({2, 0});
  CHECK(values<i64>(cat({a, none, b}, 1)) == std::vector<i64>{0, 1, 0, 2, 3, 1});
  CHECK(values<i64>(cat({a, a}, 0)) == std::vector<i64>{0, 1, 2, 3, 0, 1, 2, 3});
  CHECK(values<i64>(stack({a, a}, -1)) == std::vector<i64>{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK(stack({a, a, a}, 0).shape() == Shape{3, 2, 2});
}

TEST_CASE("index_select copies rows or picks columns; its backward adds up repeated ids") {
  const Tensor x = counted<float>({3, 2}), picked = ids({2, 0, 2});
  CHECK(values<float>(index_select(x, 0, picked)) == std::vector<float>{4, 5, 0, 1, 4, 5});
  CHECK(values<float>(index_select(x, -1, ids({1}))) == std::vector<float>{1, 3, 5});
  CHECK(values<i64>(index_select(counted<i64>({3}), 0, picked)) == std::vector<i64>{2, 0, 2});
  CHECK(values<float>(index_select_backward(Tensor::full({3, 2}, 1), x.shape(), 0, picked)) ==
        std::vector<float>{1, 1, 0, 0, 2, 2});
}

TEST_CASE("layout errors name the shapes and the way out") {
  const Tensor x = counted<float>({2, 3});
  CHECK_THROWS_WITH_AS(permute(x, {0, 0}), "permute: dimension 0 of [2, 3] is named twice", Error);
  CHECK_THROWS_WITH_AS(permute(x, {1}), "permute: 1 dimensions for [2, 3]; name each once", Error);
  CHECK_THROWS_WITH_AS(transpose(x, 0, 2), "transpose: [2, 3] has no dimension 2", Error);
  CHECK_THROWS_WITH_AS(
      slice(x, {1, 2, 4}),
      "slice: 2 to 4 by 1 of dimension 1 of [2, 3]; it must lie within and step forward", Error);
  CHECK_THROWS_WITH_AS(
      expand(x, {2, 4}),
      "expand: [2, 3] to [2, 4]; only dimensions of size 1, and new ones in front, can grow",
      Error);
  CHECK_THROWS_WITH_AS(cat({x, counted<float>({2, 3, 1})}, 0),
                       "cat: [2, 3, 1] f32 beside [2, 3] f32 along dimension 0; types and all "
                       "other sizes must be equal",
                       Error);
  CHECK_THROWS_WITH_AS(index_select(x, 0, ids({0, 2})), "index_select: id 2 is outside of 0 … 1",
                       Error);
  CHECK_THROWS_WITH_AS(
      gather(x, 0, ids({0})),
      "gather: ids are [1], x is [2, 3]; but for dimension 0 they must have one shape", Error);
}
