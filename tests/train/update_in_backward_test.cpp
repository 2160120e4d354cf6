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
  Optimizer optimizer = make_optimizer(spec, decay_groups(parameters, spec));
  Trained trained;
  for (i64 step = 1; step <= 3; ++step) {
    const StepOptions options{.lr_factor = 1.0 / static_cast<double>(step),
                              .clip_value = 0.01,
                              .measure_norm = true,
                              .watch = step == 2};
    const Variable of_step = loss(model, step);
    if (together == kAfter) {
      of_step.backward();
      trained.reports.push_back(optimizer.step(options));
      for (Parameter* parameter : parameters) parameter->gradient.clear();
    } else {
      UpdatedInBackward updated = update_in_backward(of_step, Tensor::full({}, 1), optimizer,
                                                     parameters, options, together);
      CHECK(updated.parameters.size() == parameters.size());
      for (const Parameter* parameter : parameters) CHECK_FALSE(parameter->gradient);
      trained.reports.push_back(std::move(updated.report));
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
    CHECK(test::same_bits(found.state.at(key), tensor));
  }
  for (std::size_t k = 0; k < expected.reports.size(); ++k) {
    const StepReport &a = found.reports[k], &b = expected.reports[k];
    CHECK(*a.grad_norm == doctest::Approx(*b.grad_norm).epsilon(1e-6));
    CHECK(a.skipped == b.skipped);
    CHECK((a.watch_seconds > 0) == (b.watch_seconds > 0));
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
  std::vector<std::string> specs{"adamw8bit:min_8bit_size=0:block_size=16",
                                 "sgd:momentum=0.9:state=bf16", "adamw:lazy_rows=true"};
  std::ranges::copy(optimizer_names(), std::back_inserter(specs));
  for (const std::string& spec : specs)
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

TEST_CASE("a gradient that is not finite ends the updates; it and the rest stay to be looked at") {
  Parameter first{"first", Tensor::full({2}, 1), {}}, second{"second", Tensor::full({2}, 1), {}},
      third{"third", Tensor::full({2}, 1), {}};
  const std::vector<Parameter*> all{&first, &second, &third};
  Optimizer optimizer = make_optimizer("sgd:lr=0.5", all);
  // Backward comes to the third, then to the second, whose gradient alone is too large.
  const Variable a(first), b(second);
  const Variable large =
      mul(mul(b, Variable(Tensor::full({2}, 1e38))), Variable(Tensor::full({2}, 100)));
  const Variable c(third);
  const UpdatedInBackward updated =
      update_in_backward(sum(add(a, add(large, c))), Tensor::full({}, 1), optimizer, all, {}, 1);
  CHECK(updated.report.skipped);
  CHECK_FALSE(std::isfinite(*updated.report.grad_norm));
  CHECK(updated.parameters == std::set<const Parameter*>{&third});
  for (const Parameter* parameter : all) {
    CAPTURE(parameter->name);
    CHECK((parameter->value.data<float>()[0] == 1) == (parameter != &third));
    CHECK(bool(parameter->gradient) == (parameter != &third));
  }
}

TEST_CASE("weights that a step makes infinite are told of") {
  Parameter w{"w", Tensor::full({2}, 3e38), {}}, other{"other", Tensor::full({2}, 1), {}};
  const std::vector<Parameter*> both{&w, &other};
  Optimizer optimizer = make_optimizer("sgd:lr=1", both);
  const Variable of_other(other), of_w(w);  // w comes first, and the other's step does not hide it
  const Variable loss = sum(sub(of_other, mul(of_w, Variable(Tensor::full({2}, 1e38)))));
  CHECK(update_in_backward(loss, Tensor::full({}, 1), optimizer, both, {}, 1).report.bad_weights);
}

TEST_CASE("what an update in backward cannot do is refused") {
  Parameter w{"w", Tensor::full({1}, 1), {}}, x{"x", Tensor::full({1}, 2), {}};
  Optimizer optimizer = make_optimizer("sgd:lr=0.5", {&w});
  const auto update = [&](const Variable& loss, const StepOptions& options) {
    update_in_backward(loss, Tensor::full({}, 1), optimizer, {&w}, options, 1);
  };
  CHECK_THROWS_WITH_AS(update(sum(Variable(w)), {.clip_norm = 1}),
                       doctest::Contains("known only when all gradients are"), Error);
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
  for (const auto& [norm, why] :
       {std::pair{1.0, "update-in-backward: the gradient's norm is known only when"},
        {-1.0, "clip is -1; it must be finite and at least 0"}}) {
    options.clip_norm = norm;
    CHECK_THROWS_WITH_AS(Trainer(line.objective(), "sgd:lr=0.01", options), doctest::Contains(why),
                         Error);
  }
  // What the first checkpoint computes anew is of another weight by then, by a use of its own and by one of both.
  const Variable shared(w);
  for (const bool fresh : {true, false}) {
    const auto times_w = [&](const Variable& from) {
      return mul(from, fresh ? Variable(w) : shared);
    };
    const Variable twice = checkpoint(times_w, checkpoint(times_w, Variable(x)));
    CHECK_THROWS_WITH_AS(update(sum(twice), {}),
                         doctest::Contains("'w' was updated, and then got a gradient again"),
                         Error);
    w.gradient.clear();
  }
}

TEST_CASE(
    "backward takes the step: what changes it comes before, and the record tells what was done") {
  const auto trained = [](bool in_backward) {
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.01", {&line.slope});
    Accelerator accelerator({.schedule = "plateau:patience=0:factor=0.1",
                             .warmup = 0,
                             .watch = 1,
                             .update_in_backward = in_backward});
    i64 alarms = 0;
    accelerator.on_alarm = [&](const Alarm&) { ++alarms; };
    const Objective objective = line.objective();
    accelerator.prepare({&line.slope}, optimizer, objective.batches, 4);
    const Evaluation none(ConfusionMatrix(0), 1);
    std::vector<StepRecord> steps;
    for (i64 step = 1; accelerator.next(); ++step) {
      if (step == 2) accelerator.clip(0, 0.5);
      if (step == 3) accelerator.change_optimizer(make_optimizer("adamw:lr=0.5", {&line.slope}));
      for (int k = 0; k < 2 && step == 4; ++k) accelerator.observe(none);
      accelerator.backward(objective.loss(accelerator.indices(), accelerator.pass()).loss);
      if (in_backward) {
        CHECK_THROWS_WITH_AS(accelerator.clip(0, 1), doctest::Contains("call clip() before it"),
                             Error);
        CHECK_THROWS_WITH_AS(accelerator.observe(none),
                             doctest::Contains("call observe() before it"), Error);
        CHECK_THROWS_WITH_AS(accelerator.change_optimizer(make_optimizer("adamw", {&line.slope})),
                             doctest::Contains("call change_optimizer() before it"), Error);
      }
      steps.push_back(accelerator.step());
    }
    CHECK(alarms == 0);  // none of a parameter without a gradient
    return std::pair(line.slope.value.item(), steps);
  };
  const auto [expected, records] = trained(false);
  const auto [found, same] = trained(true);
  CHECK(found == expected);
  REQUIRE(same.size() == records.size());
  for (std::size_t i = 0; i < same.size(); ++i) {
    CAPTURE(i);
    CHECK(same[i].lr_factor == records[i].lr_factor);
    CHECK(same[i].grad_norm == records[i].grad_norm);
    REQUIRE(same[i].tensors.size() == 1);
    CHECK(same[i].tensors[0].update_rms == records[i].tensors[0].update_rms);
  }
}

TEST_CASE("two loops in turns do not hear of each other's gradients") {
  const auto trained = [](bool in_backward) {
    Line a, b;
    const AcceleratorOptions options{
        .schedule = "constant", .warmup = 0, .update_in_backward = in_backward};
    Optimizer of_a = make_optimizer("sgd:lr=0.01", {&a.slope}),
              of_b = make_optimizer("sgd:lr=0.02", {&b.slope});
    Accelerator first(options), second(options);
    first.prepare({&a.slope}, of_a, a.objective().batches, 4);
    second.prepare({&b.slope}, of_b, b.objective().batches, 4);
    while (first.next() && second.next()) {
      const Variable loss_a = a.objective().loss(first.indices(), first.pass()).loss,
                     loss_b = b.objective().loss(second.indices(), second.pass()).loss;
      first.backward(loss_a);
      second.backward(loss_b);
      first.step();
      second.step();
    }
    return std::pair(a.slope.value.item(), b.slope.value.item());
  };
  CHECK(trained(true) == trained(false));
}

namespace {

/// Two weights of which backward comes to the second first, which is large enough to be updated by itself. `early` maps the
/// gradient of the first.
struct Two {
  Two() { accelerator.prepare({&first, &second}, optimizer, Line().objective().batches, 4); }
  Variable loss(const Backward& early) {
    const Variable of_first(first);
    const Variable mapped =
        record(OpName::elsewhere("mapped"), of_first.value().clone(), {of_first}, early);
    return mean(mul(mapped, Variable(second)));
  }
  Parameter first{"first", Tensor::full({1}, 1), {}},
      second{"second", Tensor::full({kUpdatedTogether / 4}, 1), {}};
  Optimizer optimizer = make_optimizer("sgd:lr=0.01", std::vector<Parameter*>{&first, &second});
  Accelerator accelerator{{.update_in_backward = true}};
};

}  // namespace

TEST_CASE("where a gradient is not finite nobody repeats the step with weights changed in part") {
  Two two;
  two.accelerator.explain_non_finite = []() -> std::string { return "asked"; };
  REQUIRE(two.accelerator.next());
  two.accelerator.backward(
      two.loss([](const Tensor&) { return Grads{Tensor::full({1}, kInfinity)}; }));
  CHECK(two.second.value.data<float>()[0] < 1);
  CHECK_THROWS_WITH_AS(two.accelerator.step(), doctest::Contains("first in that of 'first'"),
                       TrainingFailed);
}

TEST_CASE("after a backward that ended half way there is no other, until a state is restored") {
  Two two;
  const Json state = two.accelerator.state();
  REQUIRE(two.accelerator.next());
  CHECK_THROWS_WITH_AS(
      two.accelerator.backward(two.loss([](const Tensor&) -> Grads { fail("as planned"); })),
      "as planned", Error);
  CHECK(two.second.value.data<float>()[0] < 1);
  const Backward plain = [](const Tensor& dy) { return Grads{dy}; };
  CHECK_THROWS_WITH_AS(two.accelerator.backward(two.loss(plain)),
                       doctest::Contains("ended half way"), Error);
  two.accelerator.restore(state);
  REQUIRE(two.accelerator.next());
  two.accelerator.backward(two.loss(plain));
  CHECK(two.accelerator.step().step == 1);
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
