/// Every differentiable op (autograd/ops.hpp) on small inputs: the table that gradcheck and the comparison of devices
/// go through. A new op needs a row.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "autograd/variable.hpp"

namespace minima::test {

struct OpRow {
  std::string_view op;
  std::vector<Tensor> inputs;  ///< f64, on the cpu
  std::function<Variable(const std::vector<Variable>&)> function;
  double tolerance = 1e-7;
};

/// What the functions hold besides their inputs (ids, weights of classes) lies on the device and has the type.
std::vector<OpRow> op_rows(Device device = {}, DType dtype = DType::f64);

}  // namespace minima::test
