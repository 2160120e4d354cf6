/// Products on the device against the CPU: their types, their operands' addresses, TF32.
#include "core/ops/matmul.hpp"
#include "tests/device/device.hpp"
#include "tests/device/numbers.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {}  // namespace

TEST_CASE("products of numbers of two bytes are those of the CPU, and none is widened before") {
  // The last ones are such that cuBLASLt has no product with an epilogue: columns not aligned, no rows.
  for (const auto& [rows, in, out] :
       {std::tuple<i64, i64, i64>{40, 24, 16}, {130, 64, 8}, {7, 5, 3}, {0, 8, 8}})
    for (DType type : {DType::bf16, DType::f16, DType::f32}) {
      CAPTURE(rows);
      CAPTURE(dtype_name(type));
      const auto of_type = [&](const Shape& shape, const char* name) {
        return normal(shape, name).to(DType::f32).to(type);
      };
      const Tensor x = of_type({rows, in}, "x"), w = of_type({out, in}, "w"),
                   dy = of_type({rows, out}, "dy"), bias = normal({out}, "b").to(DType::f32);
      const auto wide = [](const Tensor& t) { return t.to(DType::f32); };
      const auto there = [](const Tensor& t) { return t.to(kDevice); };
      const i64 before = test::epilogues();
      const Tensor y = ops::linear(there(x), there(w), there(bias));
      const auto [dw, dbias] = ops::linear_gradients(there(dy), there(x));
      const bool at_once = rows > 0 && (type == DType::f32 || in % 8 + out % 8 == 0);
      if (kDevice.kind == Device::Kind::emulated)
        CHECK(test::epilogues() - before == (at_once ? 2 : 0));
      const Tolerance close{2e-5, 1e-5};
      check_close(y.to(Device{}), ops::linear(wide(x), wide(w), bias), close);
      check_close(ops::linear(there(x), there(w), {}).to(Device{}),
                  ops::linear(wide(x), wide(w), {}), close);
      check_close(ops::linear_input_gradient(there(dy), there(w)).to(Device{}),
                  ops::linear_input_gradient(wide(dy), wide(w)), close);
      check_close(dw.to(Device{}), ops::linear_weight_gradient(wide(dy), wide(x)), close);
      check_close(dbias.to(Device{}), ops::column_sums(wide(dy)), close);

      // Sums that differ in a bit may be rounded the other way.
      const i64 further = test::epilogues();
      const Tolerance rounding = type == DType::bf16  ? Tolerance{2e-2, 8e-3}
                                 : type == DType::f16 ? Tolerance{2e-3, 1e-3}
                                                      : close;
      const auto check_rounded = [&](const Tensor& found, const Tensor& expected) {
        CHECK(found.dtype() == type);
        check_close(found.to(Device{}).to(DType::f32), expected, rounding);
        CHECK(same_bytes(expected.to(type).to(DType::f32), expected));
      };
      using ops::Sums;
      check_rounded(ops::linear(there(x), there(w), there(bias), Sums::rounded),
                    wide(ops::linear(x, w, bias, Sums::rounded)));
      check_rounded(ops::linear_input_gradient(there(dy), there(w), Sums::rounded),
                    wide(ops::linear_input_gradient(dy, w, Sums::rounded)));
      check_rounded(
          ops::matmul(there(x), there(w), ops::Transpose::no, ops::Transpose::yes, Sums::rounded),
          wide(ops::matmul(x, w, ops::Transpose::no, ops::Transpose::yes, Sums::rounded)));
      if (kDevice.kind == Device::Kind::emulated)
        CHECK(test::epilogues() - further == (at_once ? 1 : 0));
      check_close(
          ops::matmul(there(x), there(w), ops::Transpose::no, ops::Transpose::yes).to(Device{}),
          ops::matmul(wide(x), wide(w), ops::Transpose::no, ops::Transpose::yes), close);
    }
  for (const Device device : {Device{}, kDevice})
    CHECK_THROWS_WITH_AS(ops::linear(Tensor::zeros({4, 4}, DType::bf16, device),
                                     Tensor::zeros({4, 4}, DType::f32, device), {}),
                         "linear: one operand is bf16, the other f32; convert one of them", Error);
}

TEST_CASE("a product takes operands at any address") {
  const Tensor all = normal({700}, "all").to(DType::f32), there = all.to(kDevice);
  const auto at = [](const Tensor& x, i64 begin, i64 rows, i64 columns) {
    return x.rows(begin, begin + rows * columns).reshape({rows, columns});
  };
  for (i64 begin : {0, 4, 1}) {  // the algorithm for the first does not do for the others
    CAPTURE(begin);
    check_close(ops::linear(at(there, begin, 8, 16), at(there, 200 + begin, 8, 16),
                            there.rows(400 + begin, 408 + begin))
                    .to(Device{}),
                ops::linear(at(all, begin, 8, 16), at(all, 200 + begin, 8, 16),
                            all.rows(400 + begin, 408 + begin)),
                {1e-5, 1e-5});
  }
}

TEST_CASE("TF32 is taken where it is allowed, and nowhere else") {
  const Tensor x = normal({40, 64}, "x").to(DType::f32), w = normal({24, 64}, "w").to(DType::f32),
               bias = normal({24}, "b").to(DType::f32);
  const Tensor expected = ops::linear(x, w, bias);
  const auto error = [&] {
    double worst = 0;
    for (const Tensor& b : {bias, Tensor::zeros({24})}) {
      const Tensor y = ops::linear(x.to(kDevice), w.to(kDevice), b.to(kDevice)).to(Device{}),
                   product = ops::linear(x.to(kDevice), w.to(kDevice), {}).to(Device{});
      for (i64 i = 0; i < y.size(); ++i) {
        const double added = b.data<float>()[i % 24],
                     exact = expected.data<float>()[i] - bias.data<float>()[i % 24];
        worst = std::max({worst, std::abs(y.data<float>()[i] - added - exact),
                          std::abs(product.data<float>()[i] - exact)});
      }
    }
    return worst;
  };
  CHECK(error() < 2e-5);
  const double rounded = [&] {
    const ops::AllowTf32 rounding;
    return error();
  }();
  CHECK(rounded > 2e-4);
  CHECK(rounded < 5e-2);
  CHECK(error() < 2e-5);
}
