/// Shapes, tensors and their element types.
#include "core/tensor.hpp"

#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::error_of;

TEST_CASE("a shape counts its elements; negative indices count from the end") {
  const Shape shape{2, 3, 5};
  CHECK(shape.size() == 30);
  CHECK(shape[-1] == 5);
  CHECK(shape.rows() == 6);
  CHECK(Shape{}.size() == 1);
  CHECK(Shape{}.rows() == 1);
  CHECK(Shape{4, 0}.size() == 0);
  CHECK(shape.inner() == Shape{3, 5});
  CHECK(Shape{7}.inner() == Shape{});
  CHECK(shape.with(-2, 9) == Shape{2, 9, 5});
  CHECK(to_string(shape) == "[2, 3, 5]");
  CHECK(to_string(Shape{}) == "[]");
}

TEST_CASE("a shape that cannot be is refused") {
  CHECK(error_of([] { Shape{2, -1}; }) == "shape: dimension 1 is -1; sizes must not be negative");
  CHECK(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; }) ==
        "shape: 9 dimensions; at most 8 are supported");
  for (const i64 side : {i64{1} << 30, i64{1} << 40})  // the first: only its bytes overflow
    CHECK(error_of([&] { Shape{side, side}; }).find("overflows") != std::string::npos);
  for (const auto& [first, second] : {std::pair(i64{0}, i64{1} << 62), {i64{1} << 62, i64{0}}})
    CHECK(error_of([&, a = first, b = second] {
            Shape{a, b};
          }).find("overflows") != std::string::npos);
  CHECK(error_of([] { (void)Shape{2, 3}[2]; }) == "shape: 2 dimensions have no index 2");
  CHECK(error_of([] { (void)Shape{2, 3}[-3]; }) == "shape: 2 dimensions have no index -3");
  CHECK(error_of([] { (void)Shape{}.inner(); }) == "shape: 0 dimensions have no index 0");
}

template <class T>
concept MakesTensor = requires(const std::vector<T>& values) {
  Tensor::from(values);
};
static_assert(MakesTensor<i64> && MakesTensor<u8>, "what elements can be");
static_assert(!MakesTensor<unsigned> && !MakesTensor<bool>, "what they cannot is told by its name");

TEST_CASE("copies and views share their elements, clones do not") {
  Tensor x = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor copy = x, turned = x.reshape({3, -1}), row = x.rows(1, 2), clone = x.clone();
  CHECK(!x.unique());
  x.data<float>()[4] = 9;
  CHECK(copy.data<float>()[4] == 9);
  CHECK(turned.shape() == Shape{3, 2});
  CHECK(turned.data<float>()[4] == 9);
  CHECK(row.shape() == Shape{1, 3});
  CHECK(row.data<float>()[1] == 9);
  CHECK(row.shares_storage(x));
  CHECK(clone.data<float>()[4] == 4);
  CHECK(clone.unique());
  CHECK(x.rows(2, 2).size() == 0);
}

TEST_CASE("an undefined tensor has no elements") {
  CHECK(Tensor().size() == 0);
  CHECK(Tensor().bytes() == 0);
  CHECK(Tensor::zeros_like(Tensor()).size() == 0);
}

TEST_CASE("misuse of a tensor is refused with both values") {
  const Tensor x = Tensor::zeros({2, 3});
  CHECK(error_of([&] { (void)x.data<double>(); }) ==
        "tensor: its elements are f32, not f64; convert with to()");
  CHECK(error_of([] { (void)Tensor().data<float>(); }) ==
        "tensor: undefined; it was never given a value");
  CHECK(error_of([] { (void)Tensor().clone(); }).starts_with("copy: a tensor is undefined"));
  CHECK(error_of([] {
          Tensor::zeros({}).copy_from(Tensor());
        }).starts_with("copy: a tensor is undefined"));
  CHECK(error_of([] { (void)Tensor::stacked({}); }) == "stacked: there are no parts");
  CHECK(error_of([&] {
          (void)x.reshape({4, 2});
        }) == "reshape: [4, 2] does not hold the 6 elements of [2, 3]");
  CHECK(error_of([&] { (void)x.reshape({4, -1}); }) == "reshape: 6 elements do not divide by 4");
  CHECK(error_of([&] {
          (void)x.reshape({-1, 3, -1});
        }) == "reshape: more than one size is -1; what is left can be one size only");
  CHECK(error_of([&] {
          (void)x.reshape({i64{1} << 40, i64{1} << 40, -1});
        }) == "shape: the number of elements overflows");
  CHECK(error_of([&] { (void)x.rows(1, 3); }) == "rows: 1 to 3 of [2, 3]");
  CHECK(error_of([&] { (void)x.item(); }) == "item: the tensor is [2, 3], not a single number");
  CHECK(error_of([&] {
          Tensor::zeros({3, 2}).copy_from(x);
        }) == "copy: [2, 3] f32 into [3, 2] f32");
  CHECK(error_of([] {
          Tensor::from(std::vector<float>{1, 2}, {3});
        }) == "tensor: 2 values do not fill [3]");
}

TEST_CASE("conversion reaches every element type and comes back") {
  const Tensor x = Tensor::from(std::vector<double>{0, 1, 2, 100});
  for (DType dtype :
       {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
    CAPTURE(dtype_name(dtype));
    CHECK(x.to(dtype).dtype() == dtype);
    CHECK(x.to(dtype).bytes() == 4 * element_size(dtype));
    test::check_close(x.to(dtype).to(DType::f64), x, {0, 0});
  }
  CHECK(Tensor::scalar(2.5).item() == 2.5);
}

TEST_CASE("what an integer type cannot hold becomes the nearest that it can, NaN becomes 0") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{test::kNaN, -infinity, infinity, -1e30, 1e30,
                                   -1.5,       255.5,     256,      300};
  const auto as = [&](DType from, DType to) {
    const Tensor result = Tensor::from(values).to(from).to(to).to(DType::i64);
    return std::vector<i64>(result.span<i64>().begin(), result.span<i64>().end());
  };
  const i64 i32_min = std::numeric_limits<i32>::min(), i32_max = std::numeric_limits<i32>::max(),
            i64_min = std::numeric_limits<i64>::min(), i64_max = std::numeric_limits<i64>::max();
  for (const DType from : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(dtype_name(from));
    const i64 below_256 = from == DType::bf16 ? 256 : 255;  // 255.5, rounded
    CHECK(as(from, DType::u8) == std::vector<i64>{0, 0, 255, 0, 255, 0, 255, 255, 255});
    CHECK(as(from, DType::i32) ==
          std::vector<i64>{0, i32_min, i32_max, i32_min, i32_max, -1, below_256, 256, 300});
    CHECK(as(from, DType::i64) ==
          std::vector<i64>{0, i64_min, i64_max, i64_min, i64_max, -1, below_256, 256, 300});
  }
  const Tensor whole = Tensor::from(std::vector<i64>{i64_min, -1, 7, i64_max});
  CHECK(std::ranges::equal(whole.to(DType::u8).span<u8>(), std::vector<u8>{0, 0, 7, 255}));
  CHECK(std::ranges::equal(whole.to(DType::i32).to(DType::i64).span<i64>(),
                           std::vector<i64>{i32_min, -1, 7, i32_max}));
  CHECK(Tensor::full({}, -1, DType::u8).item() == 0);
}

TEST_CASE_TEMPLATE("each of the 65,536 values of a 16-bit float survives float and back", T, bf16,
                   f16) {
  for (u32 bits = 0; bits < 65536; ++bits) {
    T x;
    x.bits = static_cast<u16>(bits);
    const float wide = static_cast<float>(x);
    const T back(wide);
    if (std::isnan(wide)) {
      REQUIRE(std::isnan(static_cast<float>(back)));
    } else {
      REQUIRE(back.bits == x.bits);
    }
  }
}

TEST_CASE_TEMPLATE("a float between two 16-bit ones rounds to the nearer, from the middle to even",
                   T, bf16, f16) {
  const u32 infinity = std::is_same_v<T, bf16> ? 0x7f80 : 0x7c00;
  for (u32 bits = 0; bits + 1 < infinity; ++bits) {
    T below, above;
    below.bits = static_cast<u16>(bits);
    above.bits = static_cast<u16>(bits + 1);
    const float low = static_cast<float>(below), high = static_cast<float>(above);
    const float middle = static_cast<float>((double{low} + double{high}) / 2);  // exact
    REQUIRE(T(middle).bits == (bits % 2 == 0 ? bits : bits + 1));
    REQUIRE(T(std::nextafter(middle, 0.0f)).bits == bits);
    REQUIRE(T(std::nextafter(middle, INFINITY)).bits == bits + 1);
    REQUIRE(T(-middle).bits == (0x8000 | (bits % 2 == 0 ? bits : bits + 1)));
  }
  CHECK(std::isinf(static_cast<float>(T(std::numeric_limits<float>::max()))));
  CHECK(std::isnan(static_cast<float>(T(std::nanf("")))));
}

TEST_CASE("stacked tensors are a view where they lie one after another, else a copy") {
  const Tensor all = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, {4, 2});
  const Tensor view = Tensor::stacked({all.rows(1, 2), all.rows(2, 4)});
  CHECK(view.shape() == Shape{3, 2});
  CHECK(view.raw() == all.rows(1, 4).raw());
  const Tensor turned = Tensor::stacked({all.rows(2, 4), all.rows(1, 2)});
  CHECK(!turned.shares_storage(all));
  CHECK(std::ranges::equal(turned.span<float>(), std::vector<float>{5, 6, 7, 8, 3, 4}));
  const Tensor gap = Tensor::stacked({all.rows(0, 1), all.rows(2, 3)});
  CHECK(std::ranges::equal(gap.span<float>(), std::vector<float>{1, 2, 5, 6}));
  const Tensor twice = Tensor::stacked({all.rows(0, 0), all.rows(0, 1), all.rows(0, 1)});
  CHECK(std::ranges::equal(twice.span<float>(), std::vector<float>{1, 2, 1, 2}));
  CHECK_THROWS_WITH_AS(Tensor::stacked({all, Tensor::zeros({1, 3})}),
                       "stacked: [1, 3] f32 cannot stand below [4, 2] f32; types and all sizes "
                       "but the first must be equal",
                       Error);
}
