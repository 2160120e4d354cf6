/// What the Trainer does around its steps: when it evaluates and stops, and what it does where numbers are not finite.
#include "train/trainer.hpp"

#include <cmath>

#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/file.hpp"
#include "core/ops/finite.hpp"
#include "tests/support.hpp"
#include "tests/train/small_task.hpp"
#include "train/find_lr.hpp"

using namespace minima;
using test::small_task;

namespace {

Variable times(const Variable& x, double factor) {
  return mul(x, Variable(Tensor::full({}, factor)));
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A line through points that are given one by one; `poison` may spoil the loss of a batch.
struct Line {
  Parameter slope{.name = "slope", .value = Tensor::full({1}, 1), .gradient = {}};
  std::function<Variable(const Variable& loss, i64 step)> poison = [](const Variable& loss, i64) {
    return loss;
  };

  Objective objective() {
    return {.parameters = {&slope},
            .batches =
                [](i64) {
                  return std::vector<std::vector<i64>>{{1}, {2}, {3}, {4}};
                },
            .loss =
                [this](std::span<const i64> batch, const nn::Pass& pass) {
                  const Tensor x = Tensor::full({1}, static_cast<double>(batch[0]));
                  const Variable error =
                      sub(mul(Variable(slope), Variable(x)),
                          Variable(Tensor::full({1}, 3.0 * static_cast<double>(batch[0]))));
                  return BatchLoss{poison(mean(square(error)), pass.step)};
                },
            .evaluate =
                [this] {
                  const double error = slope.value.item() - 3;
                  return Evaluation{
                      ConfusionMatrix(0), error * error, {{"nearness", -std::abs(error)}}};
                }};
  }
};

TrainingOptions line_options() {
  TrainingOptions options{.epochs = 5};
  options.schedule = "constant";
  options.warmup = 0;
  options.clip_norm = 0;
  options.metric = "nearness";
  return options;
}

std::vector<i64> evaluated(const TrainingResult& result) {
  std::vector<i64> steps;
  for (const EvaluationRecord& record : result.evaluations) steps.push_back(record.step);
  return steps;
}

}  // namespace

TEST_CASE("any loss over any batches can be trained, without a model of ours") {
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
  Trainer trainer(line.objective(), optimizer, line_options());
  const TrainingResult result = trainer.run();
  CHECK(result.steps.size() == 20);
  CHECK(evaluated(result) == std::vector<i64>{4, 8, 12, 16, 20});
  CHECK(line.slope.value.item() == doctest::Approx(3).epsilon(1e-2));
  CHECK(result.dev().score("nearness") > -0.03);
}

TEST_CASE("training is as long as steps say, and evaluated as often as asked and at its end") {
  TrainingOptions options = line_options();
  options.steps = 11;
  options.evaluate_every = 3;
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
  CHECK(evaluated(Trainer(line.objective(), optimizer, options).run()) ==
        std::vector<i64>{3, 6, 9, 11});
}

TEST_CASE(
    "training stops when nothing gets better, when the time is up, and when a callback asks") {
  {
    TrainingOptions options = line_options();
    options.patience = 2;
    Line line;  // whose slope is best at first, and then driven away
    line.slope.value.fill(3);
    line.poison = [&](const Variable& loss, i64) {
      return neg(add(loss, mean(Variable(line.slope))));
    };
    Optimizer optimizer = make_optimizer("sgd:lr=0.001", line.objective().parameters);
    const TrainingResult result = Trainer(line.objective(), optimizer, options).run();
    CHECK(result.stop == Stop::patience);
    CHECK(evaluated(result) == std::vector<i64>{4, 8, 12});
    CHECK(result.best == 0);
    CHECK(result.dev().loss == result.evaluations[0].dev.loss);
    const double error = line.slope.value.item() - 3;
    CHECK(error * error == doctest::Approx(result.dev().loss));  // the best weights are back
  }
  {
    TrainingOptions options = line_options();
    options.minutes = 1e-9;
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    const TrainingResult result = Trainer(line.objective(), optimizer, options).run();
    CHECK(result.stop == Stop::minutes);
    CHECK(evaluated(result) == std::vector<i64>{1});
  }
  {
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, line_options());
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      if (record.step == 2) trainer.evaluate_now();
      if (record.step == 7) trainer.stop();
    }});
    const TrainingResult result = trainer.run();
    CHECK(result.stop == Stop::callback);
    CHECK(evaluated(result) == std::vector<i64>{2, 4, 7});
  }
}

TEST_CASE(
    "an evaluation that is not finite is never the best, and stops where the policy is to stop") {
  for (const NonFinite policy : {NonFinite::skip, NonFinite::stop})
    for (const std::string metric : {"loss", "nearness"}) {
      CAPTURE(metric);
      TrainingOptions options = line_options();
      options.metric = metric;
      options.non_finite = policy;
      Line line;
      Objective objective = line.objective();
      i64 evaluations = 0;  // the second and the third overflow
      objective.evaluate = [&, evaluate = objective.evaluate] {
        Evaluation evaluation = evaluate();
        if (++evaluations == 2 || evaluations == 3)
          evaluation.loss = evaluations == 2 ? NAN : kInfinity, evaluation.extra["nearness"] = NAN;
        return evaluation;
      };
      Optimizer optimizer = make_optimizer("sgd:lr=0.001", objective.parameters);
      Trainer trainer(objective, optimizer, options);
      if (policy == NonFinite::stop) {
        CHECK_THROWS_WITH_AS(trainer.run(),
                             doctest::Contains("the loss on dev is nan after step 8"), Error);
        continue;
      }
      const TrainingResult result = trainer.run();
      CHECK(result.evaluations.size() == 5);
      CHECK(result.best == 4);
    }
}

TEST_CASE("a run none of whose evaluations was finite fails, and says so") {
  TrainingOptions options = line_options();
  options.non_finite = NonFinite::skip;
  Line line;
  Objective objective = line.objective();
  objective.evaluate = [evaluate = objective.evaluate] {
    Evaluation evaluation = evaluate();
    evaluation.loss = NAN;
    return evaluation;
  };
  Optimizer optimizer = make_optimizer("sgd:lr=0.001", objective.parameters);
  CHECK_THROWS_WITH_AS(Trainer(objective, optimizer, options).run(),
                       doctest::Contains("never finite before: the weights are too large"), Error);
}

TEST_CASE(
    "a run that was stopped before its end goes on from there; one that ended stays as it is") {
  const test::RunFolder folder;
  TrainingOptions options = line_options();
  options.minutes = 1e-9;
  const auto run = [&](bool resume) {
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options, folder.path);
    if (resume) CHECK(trainer.resume());
    return trainer.run();
  };
  CHECK(run(false).stop == Stop::minutes);
  options.minutes = 0;
  options.keep = 0;
  options.save_every = 20;
  const TrainingResult rest = run(true);
  CHECK(rest.steps.size() == 20);
  CHECK(rest.stop == Stop::finished);

  const test::RunFolder other;
  options.patience = 2;
  options.save_every = 4;
  options.epochs = 50;
  std::vector<i64> steps;
  for (const bool resume : {false, true}) {
    Line line;  // at its best from the start
    line.slope.value.fill(3);
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options, other.path);
    if (resume) CHECK(trainer.resume());
    const TrainingResult result = trainer.run();
    CHECK(result.stop == Stop::patience);
    steps.push_back(std::ssize(result.steps));
  }
  CHECK(steps == std::vector<i64>{12, 12});
}

TEST_CASE("a metric that the task does not have is refused by name") {
  TrainingOptions options = line_options();
  options.metric = "accuracy";
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
  CHECK_THROWS_WITH_AS(Trainer(line.objective(), optimizer, options).run(),
                       doctest::Contains("nearness"), Error);
}

TEST_CASE("what is not finite ends training in its step, and the op or the tensor is named") {
  const auto error_of = [](auto poison) -> std::string {
    Line line;
    line.poison = poison;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    try {
      Trainer(line.objective(), optimizer, line_options()).run();
    } catch (const Error& error) {
      CHECK(error.fault == Fault::runtime);
      return error.what();
    }
    return "";
  };
  const std::string loss = error_of([](const Variable& loss, i64 step) {
    return step == 5 ? mul(exp(times(add(loss, loss), 1e30)), loss) : loss;
  });
  CHECK(loss.find("the loss is inf in step 5") != std::string::npos);
  CHECK(loss.find("the result of 'exp' [] holds inf") != std::string::npos);
  // d√x/dx at 0.
  const std::string gradient = error_of([](const Variable& loss, i64 step) {
    return step == 6 ? add(loss, sqrt(sub(loss, loss))) : loss;
  });
  CHECK(gradient.find("in step 6") != std::string::npos);
  CHECK(gradient.find("of 'sqrt'") != std::string::npos);

  for (const NonFinite policy : {NonFinite::stop, NonFinite::skip, NonFinite::lower_scale}) {
    CAPTURE(static_cast<int>(policy));
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    TrainingOptions options = line_options();
    options.non_finite = policy;
    Trainer trainer(line.objective(), optimizer, options);
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      if (record.step == 3) line.slope.value.fill(kInfinity);
    }});
    CHECK_THROWS_WITH_AS(trainer.run(),
                         doctest::Contains("the weight 'slope' is not finite at element 0"), Error);
  }
}

TEST_CASE("it is told with what options training goes on after a switch, in a resumed run too") {
  const test::RunFolder folder;
  TrainingOptions options = line_options();
  options.switches = {OptimizerSwitch::parse("3:sgd:lr=0.01")};
  for (const bool resumed : {false, true}) {
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options, folder.path);
    std::vector<std::string> told;
    trainer.callbacks.push_back(
        {.step =
             [&](const StepRecord& record, i64) {
               if (!resumed && record.step == 5) trainer.stop();
             },
         .optimizer = [&](const std::string& spec) { told.push_back(spec); }});
    CHECK(trainer.resume() == resumed);
    const TrainingResult result = trainer.run();
    CHECK(told == std::vector<std::string>{"sgd:lr=0.01"});
    REQUIRE(result.switches.size() == 1);
    CHECK(result.switches[0].to == "sgd:lr=0.01");
    CHECK(result.switches[0].text().starts_with("after step 3: sgd → sgd:lr=0.01"));
  }
}

TEST_CASE("weights that an update makes infinite are found in that step") {
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=1e38", line.objective().parameters);
  CHECK_THROWS_WITH_AS(
      Trainer(line.objective(), optimizer, line_options()).run(),
      doctest::Contains("'slope' is not finite at element 0 after the update of step 1"), Error);
}

TEST_CASE("a step that is not finite can be skipped, and changes nothing") {
  for (const NonFinite policy : {NonFinite::skip, NonFinite::lower_scale}) {
    TrainingOptions options = line_options();
    options.non_finite = policy;
    Line line;
    line.poison = [](const Variable& loss, i64 step) {
      return step == 5 ? mul(loss, Variable(Tensor::full({}, kInfinity))) : loss;
    };
    std::vector<double> slopes{1};
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options);
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      CHECK(record.skipped == (record.step == 5));
      slopes.push_back(line.slope.value.item());
    }});
    const TrainingResult result = trainer.run();
    CHECK(slopes[5] == slopes[4]);
    CHECK(slopes[6] != slopes[5]);
    REQUIRE(result.alarms.size() == 1);
    CHECK(result.alarms[0].step == 5);
    CHECK(line.slope.value.item() == doctest::Approx(3).epsilon(1e-2));
  }
}

TEST_CASE(
    "where steps are skipped no checkpoint is due, and one that is asked for costs no other") {
  const test::RunFolder folder;
  TrainingOptions options = line_options();
  options.non_finite = NonFinite::skip;
  options.save_every = 2;
  i64 bad_until = 9, stop_at = 8;
  const auto run = [&](bool resume) {
    Line line;
    line.poison = [&](const Variable& loss, i64 step) {
      return step == 4 || (step >= 6 && step <= bad_until)
                 ? mul(loss, Variable(Tensor::full({}, kInfinity)))
                 : loss;
    };
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options, folder.path);
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      if (record.step == stop_at) trainer.stop();
    }});
    if (resume) CHECK(trainer.resume());
    return trainer.run();
  };
  const auto checkpoints = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path / "checkpoints"))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  };
  // Step 4 is skipped, and what was due is saved after step 5. Stopped within the second stretch, that is saved too,
  // beside the two that are kept.
  CHECK(run(false).stop == Stop::callback);
  CHECK(checkpoints() == std::vector<std::string>{"step-2", "step-5", "step-8"});
  stop_at = 0;
  CHECK(run(true).steps.size() == 20);
  CHECK(checkpoints() == std::vector<std::string>{"step-16", "step-18"});
}

TEST_CASE("a gradient that overflows on its way at scale 1 passes at a lower one") {
  TrainingOptions options = line_options();
  options.non_finite = NonFinite::lower_scale;
  options.steps = 10;
  Line line;
  Objective objective = line.objective();
  objective.evaluate = nullptr;
  objective.loss = [&](std::span<const i64>, const nn::Pass&) {  // d/d slope = 1e30 · 1e9 · 1e-35
    return BatchLoss{mean(times(times(times(Variable(line.slope), 1e-35), 1e9), 1e30))};
  };
  Optimizer optimizer = make_optimizer("sgd:lr=1e-6", objective.parameters);
  std::vector<i64> skipped;
  Trainer trainer(objective, optimizer, options);
  trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
    if (record.skipped) skipped.push_back(record.step);
  }});
  trainer.run();
  CHECK(skipped == std::vector<i64>{1, 2});  // 1e39 is too large at scales 1 and 1/2, not at 1/4
  CHECK(line.slope.value.item() == doctest::Approx(1 - 8 * 1e-6 * 1e4));
}

TEST_CASE("fp16 scales the loss: half of it after an overflow, twice after a thousand good steps") {
  // The gradient of the product is 2 · scale; above 65,504 it is infinite.
  struct Product {
    Parameter w{.name = "w", .value = Tensor::full({1, 2}, 1), .gradient = {}};
    Optimizer optimizer = make_optimizer("sgd:lr=1e-4", {&w});
    Accelerator accelerator{{.schedule = "constant", .warmup = 0, .precision = Precision::fp16}};
    std::vector<StepRecord> steps;

    Product() {
      accelerator.prepare(
          {&w}, optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, 1010);
    }
    void run(i64 until) {
      while (accelerator.steps() < until && accelerator.next()) {
        const Autocast narrow(accelerator.pass().precision);
        accelerator.backward(times(sum(linear(Tensor::full({1, 2}, 0.1), w)), 2));
        steps.push_back(accelerator.step());
      }
    }
  };
  Product whole;
  whole.run(1010);
  std::vector<i64> skipped;
  for (const StepRecord& step : whole.steps)
    if (step.skipped) skipped.push_back(step.step);
  CHECK(skipped ==
        std::vector<i64>{1, 2, 1003});  // at 2¹⁶ and 2¹⁵; steps 3 to 1002 are good at 2¹⁴
  CHECK(whole.steps[0].scale == 65536);
  CHECK(whole.steps[2].scale == 16384);
  CHECK(whole.steps[1002].scale == 32768);
  CHECK(whole.steps[1003].scale == 16384);
  CHECK(whole.steps[5].grad_norm == doctest::Approx(2 * 0.1 * std::sqrt(2)).epsilon(1e-3));

  for (const i64 at : {1, 500, 1002}) {
    CAPTURE(at);
    Product first, second;
    first.run(at);
    second.w.value.copy_from(first.w.value);
    second.accelerator.restore(first.accelerator.state());
    second.run(1010);
    CHECK(second.w.value.data<float>()[0] == whole.w.value.data<float>()[0]);
    CHECK(second.steps.back().scale == whole.steps.back().scale);
  }
  Accelerator other({.schedule = "constant", .warmup = 0});
  other.prepare(
      {&whole.w}, whole.optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, 1010);
  CHECK_THROWS_WITH_AS(other.restore(whole.accelerator.state()), doctest::Contains("precision"),
                       Error);
}

TEST_CASE("an accelerator goes back to the start, and is prepared once") {
  Line line;
  Optimizer optimizer = make_optimizer("adamw:lr=0.02", line.objective().parameters);
  const Batches batches = [](i64 epoch) {
    return std::vector<std::vector<i64>>{{10 * epoch}, {10 * epoch + 1}, {10 * epoch + 2}};
  };
  Accelerator accelerator({.schedule = "constant", .warmup = 0});
  accelerator.prepare({&line.slope}, optimizer, batches, 9);
  Json start = accelerator.state();
  const auto drawn = [&](i64 n) {
    std::vector<i64> all;
    for (i64 i = 0; i < n; ++i) {
      accelerator.next();
      all.push_back(accelerator.indices()[0]);
      accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss);
      accelerator.step();
    }
    return all;
  };
  const std::vector<i64> first = drawn(5);
  CHECK(first == std::vector<i64>{0, 1, 2, 10, 11});
  accelerator.restore(start);
  CHECK(drawn(5) == first);
  start["batch"] = 2;
  CHECK_THROWS_WITH_AS(accelerator.restore(start), doctest::Contains("batch is 2"), Error);
  CHECK_THROWS_WITH_AS(accelerator.prepare({&line.slope}, optimizer, batches, 9),
                       doctest::Contains("prepare was called before"), Error);
  CHECK_THROWS_AS(total_steps(batches, 3, 0), Error);
}

TEST_CASE("bf16 keeps half of the activations, and trains as well as fp32") {
  double accuracy[2] = {};
  i64 kept[2] = {};
  for (const bool narrow : {false, true}) {
    TrainingOptions options{.epochs = 4, .batch = BatchSize::of_texts(16)};
    options.precision = narrow ? Precision::bf16 : Precision::fp32;
    nn::EncoderConfig config = small_task().config;
    config.dim = 32;
    config.hidden = 128;
    nn::Classifier model(config);
    model.initialize(1);
    Optimizer optimizer = make_optimizer("adamw:lr=5e-3", decay_groups(model.parameters()));
    Objective objective = classification(model, small_task().data, options);
    objective.loss = [&, loss = objective.loss](std::span<const i64> batch, const nn::Pass& pass) {
      const i64 before = memory_stats().live;
      BatchLoss result = loss(batch, pass);
      kept[narrow] = std::max(kept[narrow], memory_stats().live - before);
      return result;
    };
    accuracy[narrow] = Trainer(objective, optimizer, options).run().dev().accuracy();
    for (const Parameter* parameter : model.parameters())
      CHECK(parameter->value.dtype() == DType::f32);
  }
  CHECK(static_cast<double>(kept[1]) < 0.6 * static_cast<double>(kept[0]));
  CHECK(std::abs(accuracy[0] - accuracy[1]) < 0.15);
}

TEST_CASE("a checkpoint of weights or state that are not finite is not written") {
  const test::RunFolder folder;
  Line line;
  Optimizer optimizer = make_optimizer("adamw:lr=0.02", line.objective().parameters);
  Accelerator accelerator({.schedule = "constant", .warmup = 0});
  accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 4);
  const auto step = [&] {
    accelerator.next();
    const BatchLoss batch = line.objective().loss(accelerator.indices(), accelerator.pass());
    accelerator.backward(batch.loss);
    accelerator.step();
  };
  step();
  accelerator.checkpoint(folder.path);
  step();
  line.slope.value.fill(kInfinity);
  CHECK_THROWS_AS(accelerator.checkpoint(folder.path), Error);
  const auto last = newest_checkpoint(folder.path, nullptr);
  REQUIRE(last);
  CHECK(last->step == 1);
}

TEST_CASE("checkpointed layers give the same bits and hold less") {
  std::vector<float> expected;
  i64 plain_peak = 0;
  for (const auto& [checkpointed, precision] : {std::pair{false, Precision::fp32},
                                                {true, Precision::fp32},
                                                {false, Precision::bf16},
                                                {true, Precision::bf16}}) {
    TrainingOptions options{.epochs = 2, .batch = BatchSize::of_texts(16)};
    options.checkpoint_layers = checkpointed;
    options.precision = precision;
    reset_peak_memory();
    const i64 before = memory_stats().live;
    nn::EncoderConfig config = small_task().config;
    config.layers = 6;
    nn::Classifier model(config);
    model.initialize(1);
    Optimizer optimizer = make_optimizer("adamw:lr=1e-3", decay_groups(model.parameters()));
    Objective objective = classification(model, small_task().data, options);
    objective.evaluate = nullptr;
    i64 peak = 0;
    Trainer trainer(objective, optimizer, options);
    trainer.callbacks.push_back(
        {.step = [&](const StepRecord&, i64) { peak = memory_stats().peak - before; }});
    trainer.run();
    if (checkpointed) {
      CHECK(test::values_of(model.parameters()) == expected);
      CHECK(peak < plain_peak);
    }
    expected = test::values_of(model.parameters());
    plain_peak = peak;
  }
}

TEST_CASE("the first element that is not finite is found, in every type and any length") {
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16})
    for (const i64 n : {1, 7, 1000, 300'000}) {
      Tensor x = Tensor::full({n}, 1).to(type);
      CHECK(ops::first_non_finite(x) == -1);
      const Tensor bad = Tensor::full({1}, kInfinity).to(type);
      x.rows(n - 1, n).copy_from(bad);
      CHECK(ops::first_non_finite(x) == n - 1);
      x.rows(n / 2, n / 2 + 1).copy_from(Tensor::full({1}, std::nan("")).to(type));
      CHECK(ops::first_non_finite(x) == n / 2);
    }
  CHECK(ops::first_non_finite(Tensor::full({3}, 7).to(DType::i64)) == -1);
}

TEST_CASE("Matthews' coefficient and scores by name") {
  ConfusionMatrix two(
      2);  // scikit-learn: matthews_corrcoef = 0.4780914437337574 for tp 6, fn 2, fp 1, tn 3
  two.add(1, 1, 6), two.add(1, 0, 2), two.add(0, 1, 1), two.add(0, 0, 3);
  CHECK(two.mcc() == doctest::Approx((6 * 3 - 1 * 2) / std::sqrt(7.0 * 8 * 4 * 5)));
  const Evaluation evaluation{two, 0.5};
  CHECK(evaluation.score("mcc") == two.mcc());
  CHECK(evaluation.score("f1") == two.macro_f1());
  CHECK(evaluation.score("loss") == 0.5);
  CHECK_THROWS_WITH_AS(evaluation.score("recall"), doctest::Contains("accuracy"), Error);
  const Evaluation read = Evaluation::from_json(evaluation.to_json());
  CHECK(read.to_json() == evaluation.to_json());
  ConfusionMatrix same(3);
  same.add(0, 0, 5), same.add(1, 0, 5);
  CHECK(same.mcc() == 0);
}

TEST_CASE("a loss that blows up does not flatten the curve of a search for a learning rate") {
  LearningRateCurve curve{"adamw", {}, {}, {1.79, 1.80, 1.75, 1.71, 1.78, 4, 15}, 0, 0, 0};
  for (std::size_t i = 0; i < curve.smoothed.size(); ++i)
    curve.rates.push_back(std::pow(10, static_cast<double>(i) - 6));
  CHECK(highest_drawn({curve}) == doctest::Approx(1.89));
  const std::string page = find_lr_page({curve});
  CHECK(page.find(">1.90</text>") != std::string::npos);
  CHECK(page.find(">2.00</text>") == std::string::npos);
  CHECK(page.find("A curve ends where it passes 1.89") != std::string::npos);
  // Of 48 cells: (1.75 − 1.71) / (1.89 − 1.71), and all of what is beyond.
  const auto cells = [](int n) {
    std::string text;
    while (n-- > 0) text += "█";
    return text + "\n";
  };
  CHECK(curve.text().find("1.750  " + cells(11)) != std::string::npos);
  CHECK(curve.text().find("15.000  " + cells(48)) != std::string::npos);
}

TEST_CASE("the search for a learning rate leaves the weights alone and suggests one that trains") {
  TrainingOptions options{.epochs = 1, .batch = BatchSize::of_texts(16)};
  nn::Classifier model(small_task().config);
  model.initialize(1);
  const std::vector<float> before = test::values_of(model.parameters());
  const Objective objective = classification(model, small_task().data, options);
  for (const std::string spec :
       {"adamw", "sgd:momentum=0.9", "adafactor:relative_step=false:lr=1"}) {
    CAPTURE(spec);
    const LearningRateCurve curve = find_learning_rate(objective, spec, options);
    CHECK(test::values_of(model.parameters()) == before);
    CHECK(curve.suggestion > 1e-6);
    CHECK(curve.suggestion < curve.lowest);
    CHECK(curve.rates.size() == curve.smoothed.size());
    CHECK(curve.text().find("suggested lr") != std::string::npos);
  }
  // In the precision that training will have; the first gradients of fp16 may overflow and lower its scale.
  const LearningRateCurve wide = find_learning_rate(objective, "adamw", options);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    options.precision = precision;
    const LearningRateCurve narrow = find_learning_rate(objective, "adamw", options);
    CHECK(test::values_of(model.parameters()) == before);
    CHECK(narrow.losses != wide.losses);
    CHECK(narrow.losses[0] == doctest::Approx(wide.losses[0]).epsilon(0.01));
    CHECK(narrow.rates.size() > 50);
    CHECK(narrow.suggestion / wide.suggestion == doctest::Approx(1).epsilon(9));
  }
  options.precision = Precision::fp32;
  CHECK_THROWS_WITH_AS(find_learning_rate(objective, "adafactor", options),
                       doctest::Contains("relative_step"), Error);
  CHECK(with_learning_rate("adamw:lr=1:eps=1e-6", 0.5) == "adamw:eps=1e-6:lr=0.5");
  CHECK(learning_rate("adamw:lr=2e-3") == 2e-3);
  CHECK_FALSE(learning_rate("adafactor"));
}
