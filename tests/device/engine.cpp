/// Steps of every optimizer on the device, against the CPU.
#include <vector>

#include "optim/clip.hpp"
#include "optim/registry.hpp"
#include "tests/data/files.hpp"
#include "tests/device/device.hpp"
#include "tests/optim/conformance.hpp"
#include "tests/optim/cut_momentum.hpp"
#include "tests/optim/sm3.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// With two places left over.
Gradient rows_on_device(const Gradient& gradient) {
  Tensor left = gradient.values().rows(0, 2).clone();
  left.fill(0);
  return Gradient::rows(
      Tensor::stacked({gradient.ids(), Tensor::full({2}, Gradient::kManyRows, DType::i64)})
          .to(kDevice),
      Tensor::stacked({gradient.values(), left}).to(kDevice));
}

/// Brings a model to the device, gradients too.
void to_device(const Model& model) {
  for (Parameter* parameter : model.all()) {
    parameter->value = parameter->value.to(kDevice);
    Gradient& gradient = parameter->gradient;
    if (gradient.kind() == Gradient::Kind::rows)
      gradient = rows_on_device(gradient);
    else if (gradient)
      gradient = gradient.values().to(kDevice);
  }
}

/// Borders of blocks, warps and stretches; every kind of momentum of adapm; a batch of matrices; too few elements for 8
/// bits and whole blocks of them, behind which one barrier alone stands before the next parameter.
std::vector<ParameterShape> shapes() {
  return {{"v.bias", {257}},        {"long.bias", {1100}}, {"w", {33, 40}},
          {"batch", {3, 70, 11}},   {"q_lin", {20, 36}},   {"ffn.lin.weight", {36, 12}},
          {"embeddings", {40, 24}}, {"none", {0}},         {"short", {90}},
          {"scalar", {}},           {"whole", {16, 48}},   {"flat", {1, 300}},
          {"steep", {300, 1}}};
}

/// Several stretches of a kernel, and rows that end anywhere in them.
std::vector<ParameterShape> large_shapes() {
  return {{"short.bias", {6}},     {"long.bias", {4099}}, {"odd", {85, 331}},
          {"batch", {3, 5, 44}},   {"q_lin", {66, 1036}}, {"ffn.lin.weight", {36, 12}},
          {"embeddings", {40, 24}}};
}

/// Each with its default options and with all others, its state so stored.
std::vector<std::string> every_optimizer(std::initializer_list<const char*> states) {
  std::vector<std::string> specs;
  for (const std::string& name : optimizer_names())
    for (const std::string& options : {std::string(), variants(name).back()})
      for (const char* state : states)
        specs.push_back(join_options(name, options) +
                        ":non_finite_guard=true:min_8bit_size=100:state=" + state);
  return specs;
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
    const std::vector<i64> ids =
        step == 1 ? std::vector<i64>{0, 3, 4, 32} : std::vector<i64>{2, 3, 17 + step, 31};
    model[i].gradient = Gradient::rows(
        Tensor::from(ids), random_tensor({4, width}, fmt::format("rows{} {}", i, step)));
  }
}

Tensor decoded(const Optimizer& optimizer, const PlannedSlot& slot) {
  return optimizer.values(slot).to(DType::f64);
}

/// Whether the sums of rows and columns enter, whose order differs.
bool sums(const std::string& name) {
  static std::map<std::string, bool> known;
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  return known[name] = !mixed(join_options(name, variants(name).back())).empty();
}

/// Of fp32 values: bits where all maths is elementwise, but for those of NaN, which processors make differently; else
/// nearly. Of what is stored in fewer bits, one value in a hundred, or one in all, may round the other way: to a neighbour,
/// from which it is nowhere further away than the largest codes of a block lie apart.
void check_equal(const Tensor& found, const Tensor& expected, bool exact, bool rounded) {
  if (exact) {
    const auto one_nan = [](const Tensor& x) {
      Tensor result = x.clone();
      for (double& value : result.span<double>())
        if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
      return result;
    };
    CHECK(same_bits(one_nan(found), one_nan(expected)));
    return;
  }
  double largest = 0;
  for (double x : expected.span<double>()) largest = std::max(largest, std::abs(x));
  i64 off = 0;
  for (i64 i = 0; i < expected.size(); ++i) {
    const double a = found.data<double>()[i], b = expected.data<double>()[i];
    if (std::isnan(a) && std::isnan(b)) continue;
    if (std::abs(a - b) <= 2e-5 * std::abs(b) + 1e-6 * largest) continue;
    ++off;
    CAPTURE(i);
    CHECK(std::abs(a - b) <= (rounded ? 0.015 * largest : 0));
  }
  CHECK(off <= (rounded ? expected.size() / 100 + 1 : 0));
}

void check_values(const Model& found, const Model& expected, bool exact = false) {
  for (std::size_t i = 0; i < expected.parameters.size(); ++i) {
    CAPTURE(expected[i].name);
    check_equal(found[i].value.to(Device{}).to(DType::f64), expected[i].value.to(DType::f64), exact,
                expected[i].value.dtype() == DType::bf16);
  }
}

void check_states(const Optimizer& found, const Optimizer& expected, bool exact = false) {
  for (const PlannedSlot& slot : expected.state().slots) {
    CAPTURE(slot.key());
    check_equal(decoded(found, slot), decoded(expected, slot), exact || slot.slot == "step",
                slot.storage != Storage::fp32);
  }
}

void compare(const std::string& spec, Gradients kind,
             const std::vector<ParameterShape>& parameters = shapes()) {
  CAPTURE(spec);
  const std::string name = spec.substr(0, spec.find(':'));
  const Model cpu(parameters), device(parameters);
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
  check_values(device, cpu, exact);
  check_states(found, expected, exact);
}

/// Clips three steps, of which the second's gradients are so much larger, and skips what is not finite.
void clip_and_skip(double scale) {
  for (const std::string spec :
       {"adamw:weight_decay=0.1", "adafactor", "came", "adapm:low_rank=q_lin",
        "sgd:momentum=0.9:nesterov=true", "adamw8bit:min_8bit_size=1"}) {
    CAPTURE(spec);
    CAPTURE(scale);
    const Model cpu(shapes()), device(shapes());
    to_device(device);
    Optimizer expected = make_optimizer(spec, cpu.all()),
              found = make_optimizer(spec, device.all());
    for (i64 k = 0; k < 3; ++k) {
      for (const Model* model : {&cpu, &device}) model->set_gradients(k, k == 1 ? scale : 1);
      to_device(device);
      const StepOptions options{.clip_norm = 5, .gradient_scale = 0.25, .skip_non_finite = true};
      const i64 before = test::waits();
      StepReport there = found.step(options);
      CHECK(test::waits() == before);
      const StepReport here = expected.step(options);
      CHECK_FALSE(there.grad_norm.has_value());
      there.read();
      if (std::isfinite(*here.grad_norm))
        CHECK(*there.grad_norm == doctest::Approx(*here.grad_norm).epsilon(1e-12));
      CHECK(std::isfinite(*there.grad_norm) == std::isfinite(*here.grad_norm));
      CHECK(there.clipped == here.clipped);
      CHECK(there.skipped == here.skipped);
      CHECK_FALSE(there.bad_weights);
      for (Norm norm : {Norm::l1, Norm::l2, Norm::maximum}) {
        const double a = global_norm(device.all(), norm, -2), b = global_norm(cpu.all(), norm, -2);
        CHECK((std::isfinite(b) ? a == doctest::Approx(b).epsilon(1e-12) : !std::isfinite(a)));
      }
    }
    check_values(device, cpu);
    check_states(found, expected);
  }
}

}  // namespace

TEST_CASE("every optimizer makes on the device the steps of the CPU") {
  for (const std::string& spec : every_optimizer({"fp32", "block8"}))
    compare(spec, Gradients::dense);
}

TEST_CASE("every optimizer takes gradients of rows, over every storage" *
          doctest::test_suite("many steps")) {
  for (const std::string& spec : every_optimizer({"fp32", "bf16", "block8"})) {
    compare(spec, Gradients::rows);
    compare(spec + ":lazy_rows=true:block_size=16", Gradients::rows);
  }
  for (const std::string& spec : every_optimizer({"bf16"})) compare(spec, Gradients::dense);
}

TEST_CASE("a rule from outside of the tree, registered in a .cu file, makes the steps of the CPU") {
  register_rule<CutMomentum>();
  for (const char* state : {"fp32", "bf16", "block8"})
    compare(fmt::format("cut_momentum:non_finite_guard=true:min_8bit_size=100:state={}", state),
            Gradients::dense);
}

TEST_CASE("so does one that keeps the largest of its rows and columns") {
  register_rule<Sm3>();
  compare("sm3", Gradients::dense);
  compare("sm3", Gradients::dense, large_shapes());
}

TEST_CASE("rows of any length are stepped over many stretches as on the CPU") {
  for (const char* spec : {"adamw", "adafactor", "came", "adamw8bit:min_8bit_size=1:block_size=18",
                           "came:min_8bit_size=1:state=block8"})
    compare(spec, Gradients::dense, large_shapes());
}

TEST_CASE("blocks of any size are stepped over many stretches as on the CPU" *
          doctest::test_suite("many steps")) {
  compare("adamw:state=bf16", Gradients::dense, large_shapes());
  for (const i64 block : {18, 24, 256, 4096})
    for (const char* spec : {"adamw8bit", "adamw:amsgrad=true:state=block8", "lion:state=block8"})
      compare(fmt::format("{}:min_8bit_size=1:block_size={}", spec, block), Gradients::dense,
              large_shapes());
  compare("adamw8bit:min_8bit_size=1:lazy_rows=true", Gradients::rows, large_shapes());
}

TEST_CASE("values that do not begin at a multiple of 16 bytes are stepped as on the CPU") {
  for (const char* spec : {"adamw", "adafactor", "adamw8bit:min_8bit_size=1"})
    for (const bool value : {false, true}) {
      CAPTURE(spec);
      CAPTURE(value);
      const Model cpu({{"w", {30, 41}}}), device({{"w", {30, 41}}});
      const auto one_row_on = [](const Tensor& x) {
        return Tensor::stacked({Tensor::zeros({1, 41}), x}).to(kDevice).rows(1, 31);
      };
      to_device(device);
      if (value) device[0].value = one_row_on(cpu[0].value);
      Optimizer expected = make_optimizer(spec, cpu.all()),
                found = make_optimizer(spec, device.all());
      for (i64 k = 0; k < 2; ++k) {
        cpu.set_gradients(k), device.set_gradients(k);
        if (value)
          to_device(device);
        else
          device[0].gradient = one_row_on(cpu[0].gradient.values());
        const StepReport a = expected.step({.clip_norm = 1});
        CHECK(*found.step({.clip_norm = 1}).read().grad_norm ==
              doctest::Approx(*a.grad_norm).epsilon(1e-12));
      }
      check_values(device, cpu);
    }
}

TEST_CASE("the norm, clipping and skipping are those of the CPU, and nothing waits for them") {
  clip_and_skip(HUGE_VAL);
}

TEST_CASE("steps are clipped on the device where their gradients are large, and else not" *
          doctest::test_suite("many steps")) {
  clip_and_skip(1);
  clip_and_skip(1e-3);
}

TEST_CASE("the norm of more parts than a warp takes is that of the CPU") {
  std::vector<ParameterShape> many;
  for (int i = 0; i < 1100; ++i) many.push_back({fmt::format("p{}", i), {1}});
  const Model cpu(many), device(many);
  cpu.set_gradients(0), device.set_gradients(0), to_device(device);
  for (Norm norm : {Norm::l1, Norm::l2, Norm::maximum})
    CHECK(global_norm(device.all(), norm, 1) ==
          doctest::Approx(global_norm(cpu.all(), norm, 1)).epsilon(1e-12));
}

TEST_CASE("low-rank momentum of wide and of tall matrices is that of the CPU") {
  const std::vector<ParameterShape> shapes{
      {"wide", {40, 1100}}, {"tall", {530, 520}}, {"flat", {3, 1100}}};
  for (const std::string spec : {"adapm:low_rank=wide|tall|flat:rank=2",
                                 "adapm:low_rank=wide|tall|flat:rank=2:factored=true"}) {
    CAPTURE(spec);
    const Model cpu(shapes), device(shapes);
    to_device(device);
    Optimizer expected = make_optimizer(spec, cpu.all()),
              found = make_optimizer(spec, device.all());
    for (i64 k = 0; k < 2; ++k) {
      cpu.set_gradients(k), device.set_gradients(k), to_device(device);
      expected.step(), found.step();
    }
    check_values(device, cpu);
  }
}

TEST_CASE("a weight that is not finite any more is told by the step that made it so") {
  const Model model({{"w", {70, 40}}});
  to_device(model);
  Optimizer optimizer = make_optimizer("sgd:lr=1e38", model.all());
  model.set_gradients(0, 100), to_device(model);
  CHECK(optimizer.step().read().bad_weights);
}

TEST_CASE(
    "a weight that bf16 rounds to infinity is told by the step, though its 32 bits were finite") {
  for (const DType type : {DType::f32, DType::bf16}) {
    const Model model({{"w", {70, 40}}});
    model[0].value = Tensor::full({70, 40}, 3.38953e38).to(type);
    model[0].gradient = Tensor::full({70, 40}, -8e35);
    to_device(model);
    Optimizer optimizer = make_optimizer("sgd:lr=1", model.all());
    CHECK(optimizer.step().read().bad_weights == (type == DType::bf16));
  }
}

TEST_CASE("a watched step on the device reports what the CPU's does") {
  bool clipped = false;
  for (const std::string spec :
       {"adamw", "adafactor:lr=0.01:relative_step=false", "adafactor", "adafactor-torch",
        "came:clip_threshold=0.5", "adapm:factored=true", "adamw8bit"}) {
    CAPTURE(spec);
    const Model cpu({{"a", {300}}, {"b", {20, 30}}}), device({{"a", {300}}, {"b", {20, 30}}});
    to_device(device);
    Optimizer expected = make_optimizer(spec, cpu.all()),
              found = make_optimizer(spec, device.all());
    for (i64 k = 0; k < 2; ++k) {
      cpu.set_gradients(k), device.set_gradients(k), to_device(device);
      const StepOptions options{.lr_factor = 0.5, .clip_norm = 1, .watch = true};
      const StepReport a = expected.step(options), b = found.step(options);
      REQUIRE(b.tensors.size() == 2);
      for (std::size_t i = 0; i < 2; ++i) {
        CHECK(b.tensors[i].gradient_rms == doctest::Approx(a.tensors[i].gradient_rms));
        CHECK(b.tensors[i].weight_rms == doctest::Approx(a.tensors[i].weight_rms));
        CHECK(b.tensors[i].update_rms == doctest::Approx(a.tensors[i].update_rms).epsilon(1e-4));
        CHECK(b.tensors[i].step_size == doctest::Approx(a.tensors[i].step_size));
        CHECK(b.tensors[i].update_clipped == a.tensors[i].update_clipped);
        clipped |= a.tensors[i].update_clipped;
      }
    }
  }
  CHECK(clipped);
}

TEST_CASE("state made on one device goes on on the other" * doctest::test_suite("many steps")) {
  const Folder folder;
  const std::string file = folder.path() + "/state.safetensors";
  for (const std::string spec : {"adamw", "adamw8bit:min_8bit_size=1", "adam:state=bf16", "came",
                                 "adapm:low_rank=q_lin", "sgd:momentum=0.9:dampening=0.5"})
    for (const Device first : {Device{}, kDevice}) {
      CAPTURE(spec);
      CAPTURE(to_string(first));
      const Device second = first == kDevice ? Device{} : kDevice;
      const Model straight(shapes()), moved(shapes());
      Optimizer whole = make_optimizer(spec, straight.all());
      const auto step = [](const Model& model, Optimizer& optimizer, i64 k, Device device) {
        set_gradients(model, k + 3, Gradients::dense);
        if (device == kDevice) to_device(model);
        optimizer.step();
      };
      for (i64 k = 0; k < 4; ++k) step(straight, whole, k, Device{});
      if (first == kDevice) to_device(moved);
      Optimizer before = make_optimizer(spec, moved.all());
      for (i64 k = 0; k < 2; ++k) step(moved, before, k, first);
      before.save(file);
      for (Parameter* parameter : moved.all()) parameter->value = parameter->value.to(second);
      Optimizer after = make_optimizer(spec, moved.all());
      after.load(file);
      for (i64 k = 2; k < 4; ++k) step(moved, after, k, second);
      for (std::size_t i = 0; i < straight.parameters.size(); ++i) {
        CAPTURE(straight[i].name);
        check_equal(moved[i].value.to(Device{}).to(DType::f64), straight[i].value.to(DType::f64),
                    false, true);
      }
    }
}

TEST_CASE("blocks of 8-bit state for which the GPU has too little shared memory are refused") {
  if (kDevice.kind != Device::Kind::emulated) return;  // only that one can be made smaller
  const Model model({{"w", {20, 30}}});
  to_device(model);
  Optimizer optimizer = make_optimizer(
      "adamw:amsgrad=true:state=block8:min_8bit_size=1:block_size=4096", model.all());
  model.set_gradients(0), to_device(model);
  emulated::machine().shared_bytes = 48 << 10;
  CHECK_THROWS_WITH_AS(optimizer.step(),
                       "optimizer: 3 slots in 8 bits need 101136 bytes of shared memory, emulated "
                       "has 49152; a smaller block_size needs less",
                       Error);
  emulated::machine() = {};
}

TEST_CASE("what does not lie together is refused by name") {
  const Model model({{"w", {4, 4}}, {"v", {4}}});
  model[0].value = model[0].value.to(kDevice);
  CHECK_THROWS_WITH_AS(
      make_optimizer("adamw", model.all()),
      fmt::format("optimizer: 'w' lies on {}, 'v' on cpu; the parameters of one must lie together",
                  to_string(kDevice))
          .c_str(),
      Error);
  model[0].value = model[0].value.to(Device{});
  Optimizer optimizer = make_optimizer("adamw", model.all());
  model.set_gradients(0), to_device(model);
  CHECK_THROWS_WITH_AS(optimizer.step(),
                       fmt::format("optimizer: 'w' lies on {}, its state on cpu; bring a model to "
                                   "its device first, then make the optimizer",
                                   to_string(kDevice))
                           .c_str(),
                       Error);
}
