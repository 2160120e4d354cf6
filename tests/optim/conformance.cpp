/// What every optimizer in the registry must do, on every storage. A new rule is covered by being
/// in the list.
#include <cmath>
#include <filesystem>

#include "core/cpu/threads.hpp"
#include "optim/clip.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// Sizes around the borders of blocks, of vector registers and of min_8bit_size; a matrix, a batch
/// of them, a scalar.
std::vector<ParameterShape> shapes() {
  std::vector<ParameterShape> result;
  for (i64 n : {0, 1, 255, 256, 257, 4095, 4096, 4097})
    result.push_back({fmt::format("v{}", n), {n}});
  result.push_back({"w", {37, 29}});
  result.push_back({"t", {3, 5, 41}});
  result.push_back({"s", {}});
  result.push_back({"wide", {2, 2500}});
  result.push_back({"empty", {4, 0}});
  return result;
}

std::filesystem::path temporary_file(const std::string& name) {
  return std::filesystem::temp_directory_path() /
         fmt::format("minima-{}-{}.safetensors", name, static_cast<const void*>(&name));
}

struct Threads {
  explicit Threads(int n) : before(threads()) { set_threads(n); }
  ~Threads() { set_threads(before); }
  int before;
};

std::string learning_rate(const std::string& name, const char* of_sgd, const char* of_others) {
  if (name == "adafactor") return "";  // makes its own
  return std::string(":lr=") + (name == "sgd" ? of_sgd : of_others);
}

}  // namespace

TEST_CASE("every optimizer descends on a quadratic") {
  for (const std::string& name : optimizer_names())
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec =
          name + learning_rate(name, "0.2", "0.02") + ":min_8bit_size=1:state=" + state;
      CAPTURE(spec);
      const Model model({{"x", {20, 30}}});
      Optimizer optimizer = make_optimizer(spec, model.all());
      const auto loss = [&] {
        double sum = 0;
        for (float x : model[0].value.span<float>()) sum += 0.5 * x * x;
        return sum;
      };
      const double first = loss();
      for (int k = 0; k < 200; ++k) {
        model[0].gradient = model[0].value.clone();
        optimizer.step();
      }
      CHECK(loss() < 0.1 * first);
    }
}

TEST_CASE("every optimizer descends on Rosenbrock's valley") {
  for (const std::string& name : optimizer_names())
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec =
          name + learning_rate(name, "0.001", "0.01") + ":min_8bit_size=1:state=" + state;
      CAPTURE(spec);
      const Model model({{"x", {2}}});
      float* x = model[0].value.data<float>();
      x[0] = -1.2f, x[1] = 1;
      Optimizer optimizer = make_optimizer(spec, model.all());
      const auto loss = [&] {
        return std::pow(1 - x[0], 2) + 100 * std::pow(x[1] - x[0] * x[0], 2);
      };
      const double first = loss();
      for (int k = 0; k < 400; ++k) {
        const float valley = x[1] - x[0] * x[0];
        model[0].gradient =
            Tensor::from<float>({-2 * (1 - x[0]) - 400 * x[0] * valley, 200 * valley});
        optimizer.step();
      }
      CHECK(loss() < 0.25 * first);
    }
}

TEST_CASE("saved midway and continued, every optimizer goes on bit for bit") {
  const auto file = temporary_file("midway");
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model straight(shapes()), resumed(shapes());
    Optimizer whole = make_optimizer(spec, decay_groups(straight.all()));
    for (int k = 0; k < 6; ++k) {
      straight.set_gradients(k);
      if (k == 2 || k < 1) straight[9].gradient.clear();
      whole.step({.lr_factor = 1 - 0.1 * k, .clip_norm = 5});
      if (k != 2) continue;
      whole.save(file);
      for (std::size_t i = 0; i < straight.parameters.size(); ++i)
        resumed[i].value.copy_from(straight[i].value);
    }
    Optimizer second_half = make_optimizer(spec, decay_groups(resumed.all()));
    second_half.load(file);
    for (int k = 3; k < 6; ++k) {
      resumed.set_gradients(k);
      second_half.step({.lr_factor = 1 - 0.1 * k, .clip_norm = 5});
    }
    check_same(straight, resumed);
    check_same_state(whole, second_half);
  }
  std::filesystem::remove(file);
}

TEST_CASE("a parameter that had no gradient before the save starts afresh after it") {
  const auto file = temporary_file("fresh");
  for (const char* spec : {"sgd:momentum=0.9:dampening=0.5", "adamw", "adafactor"}) {
    CAPTURE(spec);
    const Model a({{"x", {5}}, {"late", {5}}}), b({{"x", {5}}, {"late", {5}}});
    Optimizer first = make_optimizer(spec, a.all());
    a[0].gradient = random_tensor({5}, "g");
    first.step();
    first.save(file);
    b[0].value.copy_from(a[0].value);
    Optimizer second = make_optimizer(spec, b.all());
    second.load(file);
    for (const Model* model : {&a, &b}) model->set_gradients(1);
    first.step();
    second.step();
    check_same(a, b);
  }
  std::filesystem::remove(file);
}

TEST_CASE("the bits do not depend on the number of threads") {
  std::vector<ParameterShape> large = shapes();
  large.push_back({"table", {301, 257}});
  large.push_back({"long", {70001}});
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model one(large);
    Optimizer reference = [&] {
      const Threads use(1);
      Optimizer optimizer = make_optimizer(spec, one.all());
      for (int k = 0; k < 2; ++k) one.set_gradients(k), optimizer.step({.clip_norm = 3});
      return optimizer;
    }();
    for (int n : {2, 3}) {
      const Threads use(n);
      const Model several(large);
      Optimizer optimizer = make_optimizer(spec, several.all());
      for (int k = 0; k < 2; ++k) several.set_gradients(k), optimizer.step({.clip_norm = 3});
      check_same(one, several);
      check_same_state(reference, optimizer);
    }
  }
}

TEST_CASE("a gradient of rows is the dense gradient with zeros elsewhere, bit for bit") {
  for (const std::string& spec : all_specs())
    for (i64 width : {1, 7, 64, 300}) {
      CAPTURE(spec);
      CAPTURE(width);
      const std::vector<ParameterShape> table{{"table", {50, width}}, {"cube", {50, 2, width}}};
      const Model dense(table), rows(table);
      Optimizer a = make_optimizer(spec, dense.all()), b = make_optimizer(spec, rows.all());
      for (int k = 0; k < 3; ++k) {
        const Tensor ids = Tensor::from<i64>({0, 3, 4, 17 + k, 49});
        for (std::size_t i = 0; i < 2; ++i) {
          const Shape shape = i == 0 ? Shape{5, width} : Shape{5, 2, width};
          rows[i].gradient = Gradient::rows(ids, random_tensor(shape, fmt::format("g{}", k)));
          dense[i].gradient = rows[i].gradient.to_dense(dense[i].value.shape());
        }
        a.step();
        b.step();
      }
      check_same(dense, rows);
      check_same_state(a, b);
    }
}

TEST_CASE("a parameter without a gradient, or not trainable, is skipped whole") {
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model model({{"a", {300}}, {"none", {300}}, {"frozen", {300}}}),
        before({{"a", {300}}, {"none", {300}}, {"frozen", {300}}});
    model[2].trainable = false;
    Optimizer optimizer = make_optimizer(spec, model.all());
    const Optimizer fresh = make_optimizer(spec, before.all());
    for (int k = 0; k < 3; ++k) {
      model.set_gradients(k);
      model[1].gradient.clear();
      optimizer.step();
    }
    CHECK_FALSE(same_bits(model[0].value, before[0].value));
    for (std::size_t i : {1, 2}) CHECK(same_bits(model[i].value, before[i].value));
    const auto state = optimizer.tensors(), untouched = fresh.tensors();
    for (std::size_t i = 0; i < state.size(); ++i)
      if (!state[i].name.starts_with("a/")) {
        CAPTURE(state[i].name);
        CHECK(same_bits(state[i].tensor, untouched[i].tensor));
      }
  }
}

TEST_CASE("what never had a gradient does not move when there is no decay") {
  // A coordinate for elementwise rules; all of a row for matrix rules, which share sums within it.
  for (const std::string& name : optimizer_names())
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec = name + ":weight_decay=0:min_8bit_size=1:state=" + state;
      CAPTURE(spec);
      const Model model({{"w", {8, 64}}}), before({{"w", {8, 64}}});
      Optimizer optimizer = make_optimizer(spec, model.all());
      for (int k = 0; k < 20; ++k) {
        model.set_gradients(k);
        float* g = model[0].gradient.mutable_values().data<float>();
        for (int j = 0; j < 64; ++j) g[3 * 64 + j] = 0;
        optimizer.step();
      }
      CHECK(same_bits(model[0].value.rows(3, 4).clone(), before[0].value.rows(3, 4).clone()));
      CHECK_FALSE(same_bits(model[0].value.rows(4, 5).clone(), before[0].value.rows(4, 5).clone()));
    }
}

TEST_CASE(
    "an entry that is not finite leaves its weight alone under the guard, and is zero in the "
    "state") {
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model model({{"v", {512}}}), clean({{"v", {512}}});
    Optimizer guarded = make_optimizer(spec + ":non_finite_guard=true", model.all());
    for (int k = 0; k < 3; ++k) {
      model.set_gradients(k);
      float* g = model[0].gradient.mutable_values().data<float>();
      g[5] = std::nanf(""), g[300] = -HUGE_VALF;
      guarded.step();
    }
    for (i64 i = 0; i < 512; ++i) {
      CAPTURE(i);
      if (i == 5 || i == 300)
        CHECK(model[0].value.data<float>()[i] == clean[0].value.data<float>()[i]);
      else
        CHECK(std::isfinite(model[0].value.data<float>()[i]));
    }
  }
  const Model model({{"v", {8}}});
  Optimizer plain = make_optimizer("adamw", model.all());
  model[0].gradient = Tensor::full({8}, std::nan(""));
  plain.step();
  CHECK(std::isnan(model[0].value.data<float>()[0]));
}

TEST_CASE("a step whose gradient overflowed changes nothing") {
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model model({{"a", {300}}, {"b", {20, 20}}}), same({{"a", {300}}, {"b", {20, 20}}});
    Optimizer optimizer = make_optimizer(spec, model.all()),
              reference = make_optimizer(spec, same.all());
    for (int k = 0; k < 2; ++k) {
      model.set_gradients(k), same.set_gradients(k);
      optimizer.step(), reference.step();
    }
    model.set_gradients(9);
    model[1].gradient.mutable_values().data<float>()[7] = HUGE_VALF;
    const StepReport report = optimizer.step({.skip_non_finite = true});
    CHECK(report.skipped);
    CHECK(std::isinf(*report.grad_norm));
    check_same(model, same);
    check_same_state(optimizer, reference);
  }
}

TEST_CASE("scaling and clipping are folded into the step") {
  for (const char* spec : {"sgd:lr=0.1", "adamw", "adafactor"}) {
    CAPTURE(spec);
    const Model folded({{"w", {30, 40}}}), apart({{"w", {30, 40}}});
    Optimizer a = make_optimizer(spec, folded.all()), b = make_optimizer(spec, apart.all());
    folded.set_gradients(0, 1024), apart.set_gradients(0, 1024);
    const StepReport report = a.step({.clip_norm = 0.5, .gradient_scale = 1.0 / 1024});
    CHECK(report.clipped);
    CHECK(*report.grad_norm == doctest::Approx(global_norm(apart.all()) / 1024).epsilon(1e-9));
    const float factor = static_cast<float>(0.5 / (*report.grad_norm + 1e-6) / 1024);
    for (float& g : apart[0].gradient.mutable_values().span<float>()) g *= factor;
    b.step();
    check_close(folded[0].value, apart[0].value, {1e-7, 1e-6});
    CHECK_FALSE(a.step({.clip_norm = 1e9, .gradient_scale = 1.0 / 1024}).clipped);
    CHECK_FALSE(a.step().grad_norm.has_value());
  }
}

TEST_CASE("a group's options stand over the optimizer's") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    const Model grouped({{"a", {300}}, {"b", {300}}}), alone({{"a", {300}}, {"b", {300}}});
    Optimizer optimizer = make_optimizer(
        name + ":weight_decay=0", {{{&grouped[0]}, "weight_decay=0.3"}, {{&grouped[1]}, ""}});
    Optimizer a = make_optimizer(name + ":weight_decay=0.3", std::vector<Parameter*>{&alone[0]}),
              b = make_optimizer(name + ":weight_decay=0", std::vector<Parameter*>{&alone[1]});
    for (int k = 0; k < 3; ++k) {
      grouped.set_gradients(k), alone.set_gradients(k);
      optimizer.step(), a.step(), b.step();
    }
    check_same(grouped, alone);
  }
}
