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

TEST_CASE("an input's gradient is the same when no other input needs one") {
  for (const OpRow& row : op_rows()) {
    const auto gradients = [&](auto needed) {
      std::vector<Parameter> parameters;
      for (std::size_t i = 0; i < row.inputs.size(); ++i)
        parameters.push_back({fmt::format("{}", i), row.inputs[i], {}, needed(i)});
      std::vector<Variable> inputs;
      for (Parameter& parameter : parameters) inputs.emplace_back(parameter);
      const Variable y = row.function(inputs);
      if (y.requires_grad()) sum(square(y)).backward();
      return parameters;
    };
    CAPTURE(row.op);
    const std::vector<Parameter> all = gradients([](std::size_t) { return true; });
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(i);
      const std::vector<Parameter> alone = gradients([i](std::size_t k) { return k == i; });
      REQUIRE(bool(alone[i].gradient) == bool(all[i].gradient));
      if (alone[i].gradient)
        check_close(alone[i].gradient.to_dense(all[i].value.shape()),
                    all[i].gradient.to_dense(all[i].value.shape()), {1e-12, 1e-12});
    }
  }
}

TEST_CASE("gradcheck finds a wrong gradient") {
  const auto half = [](const std::vector<Variable>& in) {
    const Tensor y = square(in[0]).value();
    return record("square", y, {in[0]}, [x = in[0].value()](const Tensor&) { return Grads{x}; });
  };
  CHECK_THROWS_AS(gradcheck(half, {Tensor::from(std::vector{0.5, 1.0, 2.0})}), Error);
}
