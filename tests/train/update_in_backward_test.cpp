/// Updates in backward have the bits of a step after it.
#include "train/update_in_backward.hpp"

#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"
#include "nn/models/masked_lm.hpp"
#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"

using namespace minima;
using namespace minima::test;

namespace {

struct Trained {
  std::vector<float> weights;
  std::map<std::string, Tensor> state;
  std::vector<StepReport> reports;
};

constexpr i64 kAfter = 0;  ///< the step comes after backward, in the place of `together`

/// Some steps on the small task; `loss` records one.
template <class Model, class Loss>
Trained train(Model& model, const std::string& spec, i64 together, const Loss& loss) {
  model.initialize(3);
  const std::vector<Parameter*> parameters = model.parameters();
  Optimizer optimizer = make_optimizer(spec, decay_groups(parameters));
  Trained trained;
  for (i64 step = 1; step <= 3; ++step) {
    const StepOptions options{.lr_factor = 1.0 / static_cast<double>(step),
                              .clip_value = 0.01,
                              .measure_norm = true,
                              .watch = step == 2};
    if (together == kAfter) {
      loss(model, step).backward();
      trained.reports.push_back(optimizer.step(options));
      for (Parameter* parameter : parameters) parameter->gradient.clear();
    } else {
      UpdateInBackward update(optimizer, parameters, options, together);
      loss(model, step).backward();
      const std::size_t before_the_end = update.updated().size();
      CHECK(before_the_end == (together == 1 ? parameters.size() : 0));
      trained.reports.push_back(update.finish());
      CHECK(update.updated().size() == parameters.size());
      for (const Parameter* parameter : parameters) CHECK_FALSE(parameter->gradient);
    }
  }
  trained.weights = values_of(parameters);
  for (const auto& [key, tensor] : optimizer.tensors()) trained.state.emplace(key, tensor.clone());
  return trained;
}

void check_same(const Trained& found, const Trained& expected) {
  CHECK(found.weights == expected.weights);
  REQUIRE(found.state.size() == expected.state.size());
  for (const auto& [key, tensor] : expected.state) {
    CAPTURE(key);
    CHECK(std::memcmp(found.state.at(key).raw(), tensor.raw(),
                      static_cast<std::size_t>(tensor.bytes())) == 0);
  }
  for (std::size_t k = 0; k < expected.reports.size(); ++k) {
    const StepReport &a = found.reports[k], &b = expected.reports[k];
    CHECK(*a.grad_norm == doctest::Approx(*b.grad_norm).epsilon(1e-6));
    CHECK(a.skipped == b.skipped);
    REQUIRE(a.tensors.size() == b.tensors.size());
    for (std::size_t i = 0; i < a.tensors.size(); ++i) {
      CHECK(a.tensors[i].name == b.tensors[i].name);
      CHECK(a.tensors[i].update_rms == b.tensors[i].update_rms);
      CHECK(a.tensors[i].gradient_rms == b.tensors[i].gradient_rms);
    }
  }
}

Variable classified(nn::Classifier& model, i64 step, bool checkpointed, DType precision) {
  const std::vector<i64> texts{step, step + 1, step + 2, step + 3};
  const Batch batch = make_batch(small_task().data.train, texts);
  const nn::Pass pass{.training = true,
                      .seed = 1,
                      .step = step,
                      .checkpoint_layers = checkpointed,
                      .precision = precision};
  return cross_entropy(model(batch, pass), batch.labels);
}

}  // namespace

TEST_CASE("weights and state have the bits of a step after backward, by every optimizer") {
  for (const char* spec :
       {"adamw:lr=1e-3", "adamw8bit:min_8bit_size=0:block_size=16", "adafactor", "came", "adapm",
        "sgd:lr=0.1:momentum=0.9:state=bf16", "lion:weight_decay=0.1"})
    for (const bool checkpointed : {false, true})
      for (const DType precision : {DType::f32, DType::bf16}) {
        CAPTURE(spec);
        CAPTURE(checkpointed);
        CAPTURE(dtype_name(precision));
        const auto trained = [&](i64 together) {
          nn::Classifier model(small_task().config);
          return train(model, spec, together, [&](nn::Classifier& each, i64 step) {
            return classified(each, step, checkpointed, precision);
          });
        };
        const Trained expected = trained(kAfter);
        check_same(trained(1), expected);
        check_same(trained(1 << 30), expected);
      }
}

TEST_CASE("a table that is tied to the output is updated when both its uses have their gradient") {
  const auto trained = [](i64 together) {
    nn::MaskedLm model(small_task().config);
    return train(model, "adamw:lr=1e-2", together, [](nn::MaskedLm& each, i64 step) {
      Batch batch = make_batch(small_task().data.train, std::vector<i64>{step, step + 1});
      batch.chosen = Tensor::from(std::vector<i64>{1, 2});
      batch.labels = Tensor::from(std::vector<i64>{7, 9});
      return each.loss(batch, {.training = true, .seed = 1, .step = step});
    });
  };
  check_same(trained(1), trained(kAfter));
}

TEST_CASE(
    "a gradient that is not finite ends the updates, and it and the rest stay to be looked at") {
  Parameter first{"first", Tensor::full({2}, 1), {}}, second{"second", Tensor::full({2}, 1), {}},
      third{"third", Tensor::full({2}, 1), {}};
  const std::vector<Parameter*> all{&first, &second, &third};
  Optimizer optimizer = make_optimizer("sgd:lr=0.5", all);
  UpdateInBackward update(optimizer, all, {}, 1);
  // Backward comes to the third factor first; the second's gradient overflows.
  const Variable a = mul(Variable(first), Variable(Tensor::full({2}, 1e38)));
  const Variable b = mul(a, mul(Variable(second), Variable(Tensor::full({2}, 1e3))));
  sum(mul(b, mul(Variable(third), Variable(Tensor::full({2}, 1e-38))))).backward();
  const StepReport report = update.finish();
  CHECK(report.skipped);
  CHECK_FALSE(std::isfinite(*report.grad_norm));
  CHECK(update.updated().size() < 3);
  for (const Parameter* parameter : all) {
    CAPTURE(parameter->name);
    const bool updated = update.updated().contains(parameter);
    CHECK((parameter->value.data<float>()[0] != 1) == updated);
    CHECK(bool(parameter->gradient) == !updated);
  }
}

TEST_CASE("what an update in backward cannot do is refused") {
  Parameter w{"w", Tensor::full({1}, 1), {}};
  Optimizer optimizer = make_optimizer("sgd:lr=0.5", {&w});
  CHECK_THROWS_WITH_AS(UpdateInBackward(optimizer, {&w}, {.clip_norm = 1}),
                       doctest::Contains("the global norm is known when all gradients are"), Error);
  const auto refused = [](AcceleratorOptions options, const char* why) {
    options.update_in_backward = true;
    CHECK_THROWS_WITH_AS(Accelerator{options}, doctest::Contains(why), Error);
  };
  refused({.accumulate = 2}, "update-in-backward: the gradient of a step of several batches");
  refused({.non_finite = NonFinite::skip}, "cannot be skipped");
  refused({.precision = Precision::fp16}, "fp16 skips steps");
  Line line;
  TrainingOptions options = line_options();
  options.update_in_backward = true;
  options.clip_norm = 1;
  CHECK_THROWS_WITH_AS(Trainer(line.objective(), "sgd:lr=0.01", options),
                       doctest::Contains("update-in-backward: the gradient's norm is known"),
                       Error);

  // The square that the checkpoint computes anew is of another weight by then.
  UpdateInBackward update(optimizer, {&w}, {}, 1);
  Parameter x{"x", Tensor::full({1}, 2), {}};
  const Variable early = checkpoint([&](const Variable& from) { return mul(from, Variable(w)); },
                                    mul(Variable(x), Variable(x)));
  CHECK_THROWS_WITH_AS(sum(mul(early, Variable(w))).backward(),
                       doctest::Contains("'w' was updated, and then got a gradient"), Error);
}

TEST_CASE("the loop is told when clipping comes too late, and when a backward ended half way") {
  Line line;
  AcceleratorOptions options{.schedule = "constant", .warmup = 0};
  options.update_in_backward = true;
  Optimizer optimizer = make_optimizer("sgd:lr=0.01", {&line.slope});
  Accelerator accelerator(options);
  const Objective objective = line.objective();
  accelerator.prepare({&line.slope}, optimizer, objective.batches, 4);
  accelerator.clip(0, 100);
  REQUIRE(accelerator.next());
  const auto loss = [&] { return objective.loss(accelerator.indices(), accelerator.pass()).loss; };
  const Variable batch_loss = loss();
  accelerator.backward(batch_loss);
  CHECK_THROWS_WITH_AS(accelerator.clip(0, 1), doctest::Contains("comes before backward()"), Error);
  CHECK_THROWS_WITH_AS(accelerator.clip(1), doctest::Contains("the gradient's norm is known"),
                       Error);
  CHECK(accelerator.step().grad_norm == doctest::Approx(4));
  CHECK(line.slope.value.item() == doctest::Approx(1.04));
}

TEST_CASE("after a backward that ended half way, with some weights updated, there is no other") {
  Parameter early{"early", Tensor::full({1}, 1), {}}, late{"late", Tensor::full({1 << 18}, 1), {}};
  Optimizer optimizer = make_optimizer("sgd:lr=0.01", std::vector<Parameter*>{&early, &late});
  Accelerator accelerator({.update_in_backward = true});
  accelerator.prepare({&early, &late}, optimizer, Line().objective().batches, 4);
  REQUIRE(accelerator.next());
  const auto loss = [&](bool fails) {
    const Variable first = record(OpName::elsewhere("fails"), early.value, {Variable(early)},
                                  [fails](const Tensor& dy) {
                                    check(!fails, "as planned");
                                    return Grads{dy};
                                  });
    return mean(mul(first, Variable(late)));
  };
  CHECK_THROWS_WITH_AS(accelerator.backward(loss(true)), "as planned", Error);
  CHECK(late.value.data<float>()[0] < 1);
  CHECK_THROWS_WITH_AS(accelerator.backward(loss(false)), doctest::Contains("ended half way"),
                       Error);
}

TEST_CASE("a training that updates in backward is the same, step by step, with less memory") {
  const auto trained = [](bool in_backward, i64& peak) {
    TrainingOptions options{.epochs = 1, .batch = BatchSize::of_texts(4)};
    options.clip_norm = 0;
    options.update_in_backward = in_backward;
    nn::EncoderConfig config = small_task().config;
    config.dim = 64;
    config.hidden = 4096;  // 1 MB a matrix: they do not wait for each other
    config.layers = 4;
    nn::Classifier model(config);
    model.initialize(1);
    Trainer trainer(classification(model, small_task().data, options),
                    "adafactor:lr=1e-3:relative_step=false", options);
    reset_peak_memory();
    const i64 before = memory_stats().live;
    trainer.callbacks.push_back(
        {.step = [&](const StepRecord&, i64) { peak = memory_stats().peak - before; }});
    const TrainingResult result = trainer.run();
    std::vector<double> losses;
    for (const StepRecord& step : result.steps) losses.push_back(step.loss);
    return std::pair(values_of(model.parameters()), losses);
  };
  i64 peak = 0, less = 0;
  const auto expected = trained(false, peak), found = trained(true, less);
  CHECK(found.first == expected.first);
  CHECK(found.second == expected.second);
  CHECK(less < peak);
}
