/// Every op on the device against the CPU, forward and backward.
#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/rng.hpp"
#include "tests/autograd/op_rows.hpp"
#include "tests/device/device.hpp"
#include "tests/device/numbers.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

struct Results {
  Tensor y;
  std::vector<Tensor> gradients;
};

/// y and the gradients of its inputs for a fixed dy, computed on a device.
Results run(const OpRow& row, const std::vector<Tensor>& inputs, Device device, DType dtype) {
  std::vector<Parameter> parameters;
  for (const Tensor& input : inputs)
    parameters.push_back(
        {fmt::format("input {}", parameters.size()), input.to(dtype).clone().to(device), {}});
  const Variable y = row.function(std::vector<Variable>(parameters.begin(), parameters.end()));
  REQUIRE(y.value().device() == device);
  Tensor dy = Tensor::empty(y.shape(), DType::f64);
  RandomSequence random(1, "dy");
  for (double& x : dy.span<double>()) x = random.normal();
  y.backward(dy.to(dtype).to(device));
  Results results{y.value().to(Device{}), {}};
  for (const Parameter& parameter : parameters)
    results.gradients.push_back(
        parameter.gradient ? parameter.gradient.to_dense(parameter.value.shape()).to(Device{})
                           : Tensor::zeros(parameter.value.shape(), dtype));
  return results;
}

void compare(const OpRow& cpu, const OpRow& device, DType dtype, Tolerance tolerance) {
  std::string shapes;
  for (const Tensor& input : cpu.inputs) shapes += fmt::format("{} ", input.shape());
  CAPTURE(cpu.op);
  CAPTURE(shapes);
  const Results expected = run(cpu, cpu.inputs, Device{}, dtype);
  const Results found = run(device, cpu.inputs, kDevice, dtype);
  // A sum of many numbers is rounded by the size of its parts, though it may come out near zero.
  const auto check_values = [&](const Tensor& values, const Tensor& right) {
    const double scale = std::max(1.0, root_mean_square(right));
    check_close(values, right, {tolerance.absolute * scale, tolerance.relative});
  };
  check_values(found.y, expected.y);
  for (std::size_t i = 0; i < cpu.inputs.size(); ++i) {
    CAPTURE(i);
    check_values(found.gradients[i], expected.gradients[i]);
  }
}

/// Rows of several warps and blocks, texts of several tiles.
std::vector<OpRow> large_rows(Device device) {
  const auto ids = [device](i64 n, i64 below, const char* name) {
    std::vector<i64> values(static_cast<std::size_t>(n));
    RandomSequence random(5, name);
    for (i64& value : values) value = static_cast<i64>(random.below(static_cast<u64>(below)));
    return Tensor::from(values).to(device);
  };
  const auto list = [device](std::vector<i64> values) { return Tensor::from(values).to(device); };
  using In = std::vector<Variable>;
  std::vector<OpRow> rows;
  const auto add = [&](std::string_view op, std::vector<Tensor> inputs,
                       std::function<Variable(const In&)> function) {
    rows.push_back({op, std::move(inputs), std::move(function)});
  };
  for (i64 n : {33, 1500}) {
    add("linear_cross_entropy", {normal({n, 4}, "x"), normal({6, 4}, "w"), normal({6}, "b")},
        [=](const In& in) { return linear_cross_entropy(in[0], in[1], in[2], ids(n, 6, "t")); });
    add("softmax", {normal({20, n}, "x")}, [](const In& in) { return softmax(in[0], -1); });
    add("log_softmax", {normal({9, n}, "x")}, [](const In& in) { return log_softmax(in[0], -1); });
    add("layer_norm", {normal({37, n}, "x"), normal({n}, "gamma"), normal({n}, "beta")},
        [](const In& in) { return layer_norm(in[0], in[1], in[2], 1e-5); });
    add("residual_norm",
        {normal({37, n}, "x"), normal({37, n}, "r"), normal({n}, "gamma"), normal({n}, "beta")},
        [=](const In& in) {
          return residual_norm(in[0], in[1], in[2], in[3], 1e-5, {0.3, 7, 3}, ids(37, 9, "example"),
                               ids(37, 50, "position"));
        });
    add("cross_entropy", {normal({30, n}, "x")},
        [=](const In& in) { return cross_entropy(in[0], ids(30, n, "target"), {}); });
    add("sum", {normal({n, 5}, "x")}, [](const In& in) { return sum(in[0], {0}); });
    add("sum", {normal({7, n}, "x")}, [](const In& in) { return sum(in[0], {1}); });
    add("norm", {normal({7, n}, "x")}, [](const In& in) { return norm(in[0], {1}); });
    add("var", {normal({7, n}, "x")}, [](const In& in) { return var(in[0], {1}); });
    add("amax", {normal({3, n}, "x")}, [](const In& in) { return amax(in[0], {1}); });
    add("amin", {normal({3, n}, "x")}, [](const In& in) { return amin(in[0], {1}); });
    add("dropout", {normal({5, n}, "x")}, [=](const In& in) {
      return dropout(in[0], {0.3, 7, 3}, ids(5, 9, "example"), ids(5, 50, "position"));
    });
    add("mean_pool", {normal({9, n}, "x")}, [=](const In& in) {
      return mean_pool(in[0], list({0, 4, 5, 9}));
    });
    add("cross_entropy", {normal({n, 4}, "x")},
        [=](const In& in) { return cross_entropy(in[0], ids(n, 4, "target"), {}); });
    add("embedding", {normal({30, n}, "w")},
        [=](const In& in) { return embedding(in[0], ids(20, 30, "ids")); });
    add("embedding", {normal({n, 40}, "w")},
        [=](const In& in) { return embedding(in[0], ids(90, 30, "ids")); });
    add("linear", {normal({n, 20}, "x"), normal({30, 20}, "w"), normal({30}, "b")},
        [](const In& in) { return linear(in[0], in[1], in[2]); });
    add("mul", {normal({n, 3}, "x"), normal({3}, "y")},
        [](const In& in) { return mul(in[0], in[1]); });
  }
  for (i64 head_dim : {5, 40, 150})
    add("attention",
        {normal({73, 2 * head_dim}, "q"), normal({110, 2 * head_dim}, "k"),
         normal({110, 2 * head_dim}, "v")},
        [=](const In& in) {
          return attention(in[0], in[1], in[2],
                           {list({0, 1, 70, 70, 73}), ids(73, 100, "position"),
                            list({0, 33, 100, 105, 110}), list({4, 9, 2, 7})},
                           2, {0.2, 7, 3});
        });
  return rows;
}

}  // namespace

TEST_CASE("every op on the device agrees with the CPU, forward and backward") {
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::f64, Tolerance{1e-12, 1e-12}}, {DType::f32, Tolerance{1e-5, 1e-5}}}) {
    const std::vector<OpRow> cpu = op_rows(Device{}, dtype), device = op_rows(kDevice, dtype);
    for (std::size_t i = 0; i < cpu.size(); ++i) compare(cpu[i], device[i], dtype, tolerance);
  }
}

TEST_CASE("ops over several warps, blocks and tiles agree with the CPU") {
  const std::vector<OpRow> cpu = large_rows(Device{}), device = large_rows(kDevice);
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    compare(cpu[i], device[i], DType::f64, {1e-11, 1e-11});
    compare(cpu[i], device[i], DType::f32, {2e-5, 1e-5});
  }
}

TEST_CASE("mixed precision on the device is that of the CPU, forward and backward") {
  const auto exact = op_rows(Device{}, DType::f32), device = op_rows(kDevice, DType::f32);
  for (DType type : {DType::bf16, DType::f16}) {
    const Autocast products(type);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      // Where sums differ in a bit, a result may round the other way. And attention's gradients take y as it is stored.
      const double times = exact[i].op == "projected_attention" ? 4 : 1;
      compare(exact[i], device[i], DType::f32,
              type == DType::bf16 ? Tolerance{times * 2e-2, 1e-2} : Tolerance{times * 3e-3, 2e-3});
    }
  }
}
