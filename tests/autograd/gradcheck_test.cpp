/// Every op's gradient against finite differences, in f64. A new op needs a row in tests/autograd/op_rows.cpp: an op
/// without one fails the first test.
#include "autograd/gradcheck.hpp"

#include "autograd/functions.hpp"
#include "tests/autograd/op_rows.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("every op has a row in the gradcheck table") {
  const std::vector<OpRow> table = op_rows();
  for (std::string_view op : kOps) {
    CAPTURE(op);
    CHECK(std::ranges::find(table, op, &OpRow::op) != table.end());
  }
}

TEST_CASE("every op's gradients are those of finite differences") {
  for (const OpRow& row : op_rows()) {
    std::string shapes;
    for (const Tensor& input : row.inputs) shapes += fmt::format("{} ", input.shape());
    CAPTURE(row.op);
    CAPTURE(shapes);
    CHECK_NOTHROW(gradcheck(row.function, row.inputs, row.tolerance));
  }
}

TEST_CASE("gradcheck finds a wrong gradient") {
  const auto half = [](const std::vector<Variable>& in) {
    const Tensor y = square(in[0]).value();
    return record("square", y, {in[0]}, [x = in[0].value()](const Tensor&) { return Grads{x}; });
  };
  CHECK_THROWS_AS(gradcheck(half, {Tensor::from(std::vector{0.5, 1.0, 2.0})}), Error);
}
