/// A whole model on the device: what a training step computes, against the CPU.
#include "autograd/functions.hpp"
#include "core/buffer.hpp"
#include "nn/models/classifier.hpp"
#include "optim/groups.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"
#include "tests/device/device.hpp"
#include "tests/device/small_model.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::nn;
using test::kDevice;

namespace {

double largest(const Tensor& x) {
  double found = 0;
  for (float value : x.span<float>()) found = std::max(found, std::abs(double{value}));
  return found;
}

}  // namespace

TEST_CASE("a training pass on the device has the loss and the gradients of the CPU") {
  const Batch batch = test::texts({3, 40, 17, 1});
  const Pass pass{.training = true, .seed = 3, .step = 2};
  for (Pooling pooling : {Pooling::first, Pooling::mean}) {
    CAPTURE(static_cast<int>(pooling));
    Classifier cpu(test::small_model(pooling)), device(test::small_model(pooling));
    for (Classifier* model : {&cpu, &device}) model->initialize(7);
    device.to(kDevice);
    const auto loss_of = [&](Classifier& model) {
      const Variable logits = model(batch, pass);
      const Variable loss = cross_entropy(logits, batch.labels.to(logits.value().device()));
      loss.backward();
      return loss.value().item();
    };
    CHECK(loss_of(device) == doctest::Approx(loss_of(cpu)).epsilon(1e-5));
    const std::vector<Parameter*> expected = cpu.parameters(), found = device.parameters();
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(found[i]->name);
      const Shape& shape = found[i]->value.shape();
      REQUIRE(found[i]->gradient.values().device() == kDevice);
      const Tensor gradient = expected[i]->gradient.to_dense(shape);
      // That of the keys' bias is nothing but rounding: a softmax does not see it.
      const double scale = found[i]->name.ends_with("k_lin.bias") ? 1 : largest(gradient);
      test::check_close(found[i]->gradient.to_dense(shape).to(Device{}), gradient,
                        {1e-5 * scale, 1e-5});
    }
  }
}

TEST_CASE("a steady training pass takes no more memory from the device") {
  const Batch batch = test::texts({9, 12});
  Classifier model(test::small_model(Pooling::first));
  model.initialize(7);
  model.to(kDevice);
  i64 taken = 0;
  for (i64 step = 0; step < 3; ++step) {
    for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
    const Variable logits = model(batch, {.training = true, .seed = 3, .step = step});
    cross_entropy(logits, batch.labels.to(kDevice)).backward();
    const i64 now = memory_stats(kDevice).allocations;
    if (step == 2 && test::kKeepsMemory) CHECK(now == taken);
    taken = now;
  }
}

TEST_CASE(
    "a classifier trained on the device has the losses of the CPU, and a step waits for nothing" *
    doctest::test_suite("many steps")) {
  const std::vector<Batch> batches{test::texts({3, 17, 1}), test::texts({12, 5}),
                                   test::texts({9, 9, 2, 4})};
  for (const char* spec :
       {"adamw:lr=0.003", "adamw:lr=0.003:lazy_rows=true", "adamw8bit:lr=0.003:min_8bit_size=256",
        "adafactor:lr=0.03:relative_step=false", "came:lr=0.001", "adapm:lr=0.003:rank=4"}) {
    CAPTURE(spec);
    const auto train = [&](Device device) {
      Classifier model(test::small_model(Pooling::first));
      model.initialize(7);
      model.to(device);
      Optimizer optimizer = make_optimizer(spec, decay_groups(model.parameters(), spec));
      const Schedule schedule{.kind = "linear", .warmup = 2, .total = 20};
      std::vector<double> losses;
      for (i64 step = 0; step < 10; ++step) {
        const Batch& batch = batches[static_cast<std::size_t>(step) % batches.size()];
        const i64 before = test::waits();
        for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
        const Variable logits = model(batch, {.training = true, .seed = 3, .step = step});
        const Variable loss = cross_entropy(logits, batch.labels.to(device));
        loss.backward();
        StepReport report = optimizer.step(
            {.lr_factor = schedule.factor(step), .clip_norm = 0.5, .skip_non_finite = true});
        CHECK(test::waits() == before);
        losses.push_back(loss.value().item());
        CHECK(report.read().grad_norm.has_value());
      }
      return losses;
    };
    const std::vector<double> expected = train(Device{}), found = train(kDevice);
    // A number next to two codes' border, rounded otherwise, gets the other: a difference of percents.
    const double tolerance = std::string_view(spec).starts_with("adamw8bit") ? 2e-2 : 2e-4;
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(found[i] == doctest::Approx(expected[i]).epsilon(tolerance));
    CHECK(found.back() < found.front());
  }
}

TEST_CASE("the weights of attention's three products lie one behind the other on the device too") {
  Classifier model(test::small_model(Pooling::first));
  model.initialize(7);
  const std::vector<Parameter*> parameters = model.parameters();
  std::vector<Tensor> before;
  for (const Parameter* parameter : parameters) before.push_back(parameter->value.clone());
  const auto value = [&](const std::string& ending) {
    return (*std::ranges::find_if(
                parameters, [&](const Parameter* each) { return each->name.ends_with(ending); }))
        ->value;
  };
  for (const Device device : {kDevice, Device{}, kDevice}) {
    model.to(device);
    for (const char* kind : {"weight", "bias"}) {
      const Tensor q = value(fmt::format("layer.0.attention.q_lin.{}", kind)),
                   v = value(fmt::format("layer.0.attention.v_lin.{}", kind));
      CHECK(v.raw() == q.raw() + 2 * q.bytes());
    }
    for (std::size_t i = 0; i < parameters.size(); ++i)
      CHECK(test::same_bytes(parameters[i]->value.to(Device{}), before[i]));
  }
}

TEST_CASE("a model that the device has no room for stays where it is") {
  if (kDevice.kind != Device::Kind::emulated) return;  // only that one can be made to refuse
  Classifier model(test::small_model(Pooling::first));
  std::vector<const std::byte*> places;
  for (const Parameter* parameter : model.parameters()) places.push_back(parameter->value.raw());
  release_cached_memory(kDevice);
  emulated::machine().memory_bytes =
      static_cast<std::size_t>(memory_stats(kDevice).reserved + 2 * model.parameter_count());
  CHECK_THROWS_AS(model.to(kDevice), Error);
  emulated::machine() = {};
  for (std::size_t i = 0; const Parameter* parameter : model.parameters())
    CHECK(parameter->value.raw() == places[i++]);
}

TEST_CASE("a classifier refuses a text without tokens, on the device as on the CPU") {
  for (const Pooling pooling : {Pooling::first, Pooling::mean}) {
    Classifier model(test::small_model(pooling));
    model.initialize(7);
    for (const Device device : {Device{}, kDevice}) {
      model.to(device);
      CHECK_THROWS_WITH_AS(model(test::texts({3, 0, 2}), {}).value().to(Device{}),
                           "batch: text 1 has no token; a classifier reads its first", Error);
    }
  }
}
