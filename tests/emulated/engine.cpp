/// Steps of every optimizer on the emulated device, against the CPU.
#include <vector>

#include "optim/clip.hpp"
#include "tests/optim/conformance.hpp"

using namespace minima;
using namespace minima::test;

namespace {

constexpr Device kEmulated{Device::Kind::emulated, 0};

/// Brings a model to the device, gradients too.
void to_device(const Model& model) {
  for (Parameter* parameter : model.all()) {
    parameter->value = parameter->value.to(kEmulated);
    Gradient& gradient = parameter->gradient;
    if (gradient.kind() == Gradient::Kind::rows)
      gradient = Gradient::rows(gradient.ids().to(kEmulated), gradient.values().to(kEmulated));
    else if (gradient)
      gradient = gradient.values().to(kEmulated);
  }
}

/// Borders of blocks, warps and stretches; every kind of momentum of adapm; a batch of matrices.
std::vector<ParameterShape> shapes() {
  return {{"v.bias", {257}},      {"long.bias", {1100}},     {"w", {33, 40}},     {"batch", {3, 5, 11}},
          {"q_lin", {20, 36}},    {"ffn.lin.weight", {36, 12}}, {"embeddings", {40, 24}}, {"none", {0}},
          {"scalar", {}},         {"flat", {1, 300}},        {"steep", {300, 1}}};
}

enum class Gradients { dense, rows, lazy_rows };

/// What a step sees, the same on both sides.
void set_gradients(const Model& model, i64 step, Gradients kind) {
  model.set_gradients(step, step == 2 ? 100 : 1);
  if (step == 1) model[2].gradient.mutable_values().data<float>()[7] = std::nanf("");
  if (step == 0) model[0].gradient.clear();  // its own step count falls behind
  if (kind == Gradients::dense) return;
  for (std::size_t i : {2, 6}) {  // w and embeddings
    const i64 width = model[i].value.size(1);
    const std::vector<i64> ids = step == 1 ? std::vector<i64>{0, 3, 4, 32}
                                           : std::vector<i64>{2, 3, 17 + step, 31};
    model[i].gradient = Gradient::rows(
        Tensor::from(ids), random_tensor({4, width}, fmt::format("rows{} {}", i, step)));
  }
}

Tensor decoded(const Optimizer& optimizer, const PlannedSlot& slot) {
  return optimizer.values(slot).to(DType::f64);
}

/// Whether the sums of rows and columns enter, whose order differs.
bool sums(const std::string& name) { return !default_options(name).contains("amsgrad") && name != "sgd" && name != "lion" && name != "adamw8bit" && name != "adam8bit"; }

/// Of fp32 values: bits where all maths is elementwise, else nearly; of what is stored in fewer bits, one value
/// in a hundred may round the other way.
void check_equal(const Tensor& found, const Tensor& expected, bool exact, bool rounded) {
  if (exact) {
    CHECK(same_bits(found, expected));
    return;
  }
  double largest = 0;
  for (double x : expected.span<double>()) largest = std::max(largest, std::abs(x));
  i64 off = 0;
  for (i64 i = 0; i < expected.size(); ++i) {
    const double a = found.data<double>()[i], b = expected.data<double>()[i];
    if (std::isnan(a) && std::isnan(b)) continue;
    off += !(std::abs(a - b) <= 2e-5 * std::abs(b) + 1e-6 * largest);
  }
  CHECK(off <= (rounded ? expected.size() / 50 + 1 : 0));
}

void compare(const std::string& spec, Gradients kind) {
  CAPTURE(spec);
  const std::string name = spec.substr(0, spec.find(':'));
  const Model cpu(shapes()), device(shapes());
  for (const Model* model : {&cpu, &device})  // a weight in bf16 as well
    (*model)[1].value = (*model)[1].value.to(DType::bf16);
  to_device(device);
  Optimizer expected = make_optimizer(spec, decay_groups(cpu.all(), spec));
  Optimizer found = make_optimizer(spec, decay_groups(device.all(), spec));
  for (i64 k = 0; k < 3; ++k) {
    for (const Model* model : {&cpu, &device}) set_gradients(*model, k, kind);
    to_device(device);
    const StepOptions options{.lr_factor = 1 - 0.1 * static_cast<double>(k),
                              .clip_value = k == 2 ? 0.5 : 0,
                              .gradient_scale = 0.5};
    expected.step(options), found.step(options);
  }
  const bool exact = !sums(name);
  for (std::size_t i = 0; i < cpu.parameters.size(); ++i) {
    CAPTURE(cpu[i].name);
    check_equal(device[i].value.to(Device{}).to(DType::f64), cpu[i].value.to(DType::f64), exact,
                i == 1);
  }
  for (const PlannedSlot& slot : expected.state().slots) {
    CAPTURE(slot.key());
    check_equal(decoded(found, slot), decoded(expected, slot), exact,
                slot.storage != Storage::fp32);
  }
}

}  // namespace

TEST_CASE("every optimizer makes on the device the steps of the CPU, over every storage") {
  for (const std::string& name : optimizer_names())
    for (const std::string& options : {std::string(), variants(name).back()})
      for (const char* state : {"fp32", "bf16", "block8"}) {
        const std::string spec =
            join_options(name, options) + ":non_finite_guard=true:min_8bit_size=100:state=" + state;
        compare(spec, Gradients::dense);
        compare(spec, Gradients::rows);
        compare(spec + ":lazy_rows=true:block_size=16", Gradients::rows);
      }
}
