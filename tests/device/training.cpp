/// Whole trainings on the device.
#include "autograd/functions.hpp"
#include "nn/models/classifier.hpp"
#include "tests/device/device.hpp"
#include "tests/support.hpp"
#include "tests/train/small_task.hpp"
#include "train/classification.hpp"
#include "train/pretraining.hpp"

using namespace minima;
using namespace minima::test;

namespace {

TrainingOptions steps(i64 count) {
  TrainingOptions options;
  options.steps = count;
  options.batch = BatchSize::of_texts(12);
  options.warmup = 0;
  options.watch = 0;
  return options;
}

struct Training {
  TrainingResult result;
  std::vector<Tensor> values;
  std::vector<i64> waits, calls;  ///< of each step but the first

  std::vector<double> losses() const {
    std::vector<double> all;
    for (const StepRecord& record : result.steps) all.push_back(record.loss);
    return all;
  }
};

/// The objective's model takes adamw's steps; `change` is told the objective first.
template <class Model, class Change>
Training train(Model& model, Objective objective, const TrainingOptions& options,
               const Change& change) {
  objective.evaluate = nullptr;
  change(objective);
  Trainer trainer(objective, "adamw:lr=0.003", options);
  Training run;
  i64 waits = 0, calls = 0;
  trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
    if (record.step > 1)
      run.waits.push_back(test::waits() - waits), run.calls.push_back(test::calls() - calls);
    waits = test::waits(), calls = test::calls();
  }});
  run.result = trainer.run();
  for (const Parameter* parameter : model.parameters())
    run.values.push_back(parameter->value.to(Device{}));
  return run;
}

template <class Change>
Training train(Device device, const TrainingOptions& options, const Change& change) {
  nn::Classifier model(small_task().config);
  model.initialize(7);
  model.to(device);
  return train(model, classification(model, small_task().data, options, &small_task().tokenizer),
               options, change);
}
Training train(Device device, const TrainingOptions& options) {
  return train(device, options, [](Objective&) {});
}

Training pretrain(Device device, const TrainingOptions& options) {
  nn::MaskedLm model(small_task().config);
  model.initialize(7);
  model.to(device);
  const Masking masking(small_task().tokenizer.vocabulary(), {.rate = 0.3});
  const PretrainingData data{small_task().data.train, small_task().data.dev};
  return train(model, masked_language_modelling(model, data, masking, options), options,
               [](Objective&) {});
}

void check_same(const Training& found, const Training& expected) {
  CHECK(found.losses() == expected.losses());
  for (std::size_t i = 0; i < expected.values.size(); ++i)
    CHECK(same_bytes(found.values[i], expected.values[i]));
}

void check_near(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-3));
}

/// The losses of the CPU, one wait in a step, and few calls where shapes repeat.
void check_on_device(const std::function<Training(Device, const TrainingOptions&)>& train) {
  TrainingOptions options = steps(6);
  const std::vector<double> expected = train(Device{}, options).losses();
  const Training found = train(kDevice, options);
  check_near(found.losses(), expected);
  options.round_tokens = 256;
  const Training replayed = train(kDevice, options);
  check_near(replayed.losses(), expected);
  if (kDevice.kind != Device::Kind::emulated) return;
  const i64 before = test::waits();
  Tensor::zeros({}, DType::f32, kDevice).item();
  const i64 one = test::waits() - before;  // as the runtime counts it
  for (const Training* run : {&found, &replayed})
    for (std::size_t step = 2; step < run->waits.size(); ++step) CHECK(run->waits[step] == one);
  CHECK(5 * replayed.calls.back() < found.calls.back());
}

}  // namespace

TEST_CASE("updates in backward are for the CPU") {
  TrainingOptions options = steps(1);
  options.update_in_backward = true;
  options.clip_norm = 0;
  CHECK_THROWS_WITH_AS(train(kDevice, options), doctest::Contains("this is for the cpu alone"),
                       Error);
}

TEST_CASE(
    "products are rounded to TF32 no longer than the step at hand, also where it is begun anew") {
  Parameter w{.name = "w", .value = Tensor::full({3}, 1, DType::f32, kDevice), .gradient = {}};
  Optimizer optimizer = make_optimizer("sgd", {&w});
  Accelerator accelerator({.precision = Precision::tf32});
  accelerator.prepare(
      {&w}, optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, 1);
  const Json start = accelerator.state();
  accelerator.next();
  CHECK(ops::tf32_allowed());
  accelerator.restore(start);
  CHECK_FALSE(ops::tf32_allowed());
}

TEST_CASE("a step that was refused has its loss when it is taken after all") {
  nn::Classifier model(small_task().config);
  model.initialize(7);
  model.to(kDevice);
  const Objective objective = classification(model, small_task().data, steps(1));
  Optimizer optimizer = make_optimizer("sgd", model.parameters());
  Accelerator accelerator({});
  accelerator.prepare(objective.parameters, optimizer, objective.batches, 1);
  accelerator.next();
  const BatchLoss batch = objective.loss(accelerator.indices(), accelerator.pass());
  accelerator.backward(batch.loss, batch.weight);
  accelerator.clip(-1);
  CHECK_THROWS_AS(accelerator.step(), Error);
  accelerator.clip(1);
  CHECK(accelerator.step().loss == doctest::Approx(batch.loss.value().item()));
}

TEST_CASE("a training on the device has the losses of the CPU, and waits once in a step" *
          doctest::test_suite("many steps")) {
  for (const bool weighted : {false, true})
    check_on_device([weighted](Device device, TrainingOptions options) {
      if (weighted) options.class_weights = "balanced", options.label_smoothing = 0.1;
      return train(device, options);
    });
}

TEST_CASE("a pre-training on the device has the losses of the CPU, and waits once in a step" *
          doctest::test_suite("many steps")) {
  check_on_device(pretrain);
}

TEST_CASE("in tf32 the products of a step are rounded, those around it are not" *
          doctest::test_suite("many steps")) {
  TrainingOptions options = steps(3);
  const std::vector<double> exact = train(kDevice, options).losses();
  options.precision = Precision::tf32;
  bool allowed_outside = false;
  std::vector<bool> allowed;
  const std::vector<double> rounded =
      train(kDevice, options, [&](Objective& objective) {
        objective.loss = [&, loss = objective.loss](const auto& indices, const nn::Pass& pass) {
          allowed.push_back(ops::tf32_allowed());
          return loss(indices, pass);
        };
        objective.evaluate = [&] {
          allowed_outside |= ops::tf32_allowed();
          return Evaluation{ConfusionMatrix(2), 0};
        };
      }).losses();
  CHECK(allowed == std::vector<bool>(3, true));
  CHECK_FALSE(allowed_outside);
  CHECK_FALSE(ops::tf32_allowed());
  CHECK(rounded != exact);
  for (std::size_t i = 0; i < exact.size(); ++i)
    CHECK(rounded[i] == doctest::Approx(exact[i]).epsilon(1e-2));
  CHECK_THROWS_WITH_AS(train(Device{}, options), doctest::Contains("precision tf32: only GPUs"),
                       Error);
  if (kDevice.kind != Device::Kind::emulated) return;
  emulated::machine().capability = 75;
  CHECK_THROWS_WITH_AS(train(kDevice, options),
                       "precision tf32: emulated has compute capability 7.5, and GPUs have such "
                       "products from 8.0 on; take fp32",
                       Error);
  emulated::machine() = {};
}

TEST_CASE("batches that are brought ahead change no bit of a training" *
          doctest::test_suite("many steps")) {
  TrainingOptions options = steps(3);
  options.batch = BatchSize::of_texts(7);
  options.accumulate = 3;
  options.word_dropout = 0.2;
  for (const i64 round_tokens : {0, 64}) {
    options.round_tokens = round_tokens;
    i64 ahead = 0, taken = 0;
    const Training found = train(kDevice, options, [&](Objective& objective) {
      objective.ahead = [&, begin = objective.ahead](const auto& indices, const nn::Pass& pass) {
        ++ahead;
        begin(indices, pass);
      };
      objective.loss = [&, loss = objective.loss](const auto& indices, const nn::Pass& pass) {
        ++taken;
        return loss(indices, pass);
      };
    });
    CHECK(taken == 9);
    CHECK(ahead == 9);  // the first is not, the one behind the last is
    check_same(found, train(kDevice, options, [](Objective& objective) { objective.ahead = {}; }));
  }
}

TEST_CASE("a loss that is not finite, though its gradient is, is found on the device in its step" *
          doctest::test_suite("many steps")) {
  const auto spoil = [](i64 step) {
    return [=](Objective& objective) {
      objective.loss = [=, loss = objective.loss](const auto& indices, const nn::Pass& pass) {
        BatchLoss batch = loss(indices, pass);
        if (pass.step == step)
          batch.loss =
              add(batch.loss,
                  Variable(Tensor::full({}, HUGE_VAL, DType::f32, batch.loss.value().device())));
        return batch;
      };
    };
  };
  for (const Device device : {Device{}, kDevice}) {
    CAPTURE(to_string(device));
    TrainingOptions options = steps(2);
    options.schedule = "constant";
    options.non_finite = NonFinite::stop;
    CHECK_THROWS_WITH_AS(train(device, options, spoil(2)),
                         doctest::Contains("the loss is inf in step 2"), Error);
    options.non_finite = NonFinite::skip;
    const Training found = train(device, options, spoil(2));
    CHECK(found.result.steps.back().skipped);
    CHECK(std::isinf(found.losses().back()));
    CHECK(std::isnan(found.result.steps.back().grad_norm));
    REQUIRE(found.result.alarms.size() == 1);
    CHECK(found.result.alarms.front().of == Alarm::Of::loss);
    options.steps = 1;
    const Training before = train(device, options);
    for (std::size_t i = 0; i < before.values.size(); ++i)
      CHECK(same_bytes(found.values[i], before.values[i]));
  }
}
