/// What the Trainer does around its steps: when it evaluates and stops, how it goes on after a switch, and what its options
/// change of a training.
#include "train/trainer.hpp"

#include <algorithm>
#include <set>

#include "core/buffer.hpp"
#include "core/files/file.hpp"
#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"

using namespace minima;
using test::kInfinity, test::Line, test::line_options, test::small_task;

namespace {

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
  CHECK_THROWS_WITH_AS(trainer.run(), doctest::Contains("it has run"), Error);
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

TEST_CASE("of the evaluations of a training the best alone keeps its confusion matrix") {
  Line line;
  Objective objective = line.objective();
  objective.evaluate = [evaluate = objective.evaluate] {
    Evaluation evaluation = evaluate();
    evaluation.confusion = ConfusionMatrix(2);
    evaluation.confusion.add(1, 1, 3), evaluation.confusion.add(0, 1);
    return evaluation;
  };
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", objective.parameters);
  const TrainingResult result = Trainer(objective, optimizer, line_options()).run();
  REQUIRE(result.evaluations.size() == 5);
  for (const EvaluationRecord& record : result.evaluations) {
    CHECK(record.dev.confusion.labels() == 0);
    CHECK(record.dev.accuracy() == 0.75);
  }
  CHECK(result.dev().confusion.count(1, 1) == 3);
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
    options.patience = 2;
    options.metric = "loss";
    Line line;
    Objective objective = line.objective();
    std::vector<double> slopes;
    objective.evaluate = [&] {
      slopes.push_back(line.slope.value.item());
      return Evaluation{ConfusionMatrix(0),
                        std::vector<double>{5, 6, 4, 7, 8}.at(slopes.size() - 1)};
    };
    const TrainingResult result = Trainer(objective, "sgd:lr=0.001", options).run();
    CHECK(result.evaluations.size() == 5);  // what got better has been waited for anew
    CHECK(result.best == 2);
    CHECK(line.slope.value.item() == slopes[2]);
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

TEST_CASE("the best weights have room once: better ones take their place") {
  Line line;
  Parameter ballast{"ballast", Tensor::zeros({1 << 20})};
  Objective objective = line.objective();
  objective.parameters.push_back(&ballast);
  objective.evaluate = [evaluate = objective.evaluate] {
    Evaluation evaluation = evaluate();
    reset_peak_memory();
    return evaluation;
  };
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", objective.parameters);
  Trainer trainer(objective, optimizer, line_options());
  i64 beside = 0;  // the weights that are there already, at most
  trainer.callbacks.push_back({.evaluation = [&](const EvaluationRecord&) {
    beside = std::max(beside, memory_stats().peak - memory_stats().live);
  }});
  const TrainingResult result = trainer.run();
  CHECK(result.best == result.evaluations.size() - 1);  // each was better than the one before
  CHECK(beside < ballast.value.bytes());
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

TEST_CASE("a run goes on with the data alone that it began with") {
  const test::RunFolder folder;
  for (const char* print : {"some", "other"}) {
    Line line;
    Objective objective = line.objective();
    objective.fingerprints = {{"train", print}};
    Trainer trainer(objective, "sgd:lr=0.02", line_options(), folder.path);
    trainer.callbacks.push_back({.step = [&](const StepRecord&, i64) { trainer.stop(); }});
    if (*print == 's')
      trainer.run();
    else
      CHECK_THROWS_WITH_AS(trainer.resume(), doctest::Contains("resume: train has changed"), Error);
  }
}

TEST_CASE("a metric that the task does not have is refused by name") {
  TrainingOptions options = line_options();
  options.metric = "accuracy";
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
  CHECK_THROWS_WITH_AS(Trainer(line.objective(), optimizer, options).run(),
                       doctest::Contains("nearness"), Error);
}

TEST_CASE("plateau with mode=max goes by the metric that chooses the best model") {
  TrainingOptions options = line_options();
  options.schedule = "plateau:mode=max:patience=0";
  Line line;
  Objective objective = line.objective();
  i64 evaluations = 0;
  objective.evaluate = [&] {  // the accuracy is the same each time, nearness more, the loss less
    const auto n = static_cast<double>(++evaluations);
    return Evaluation{ConfusionMatrix(0), 1 / n, {{"accuracy", 0.5}, {"nearness", n}}};
  };
  for (const std::string metric : {"nearness", "accuracy", "loss", ""}) {
    CAPTURE(metric);
    options.metric = metric;
    const TrainingResult result = Trainer(objective, "sgd:lr=1e-3", options).run();
    CHECK(result.steps.back().lr_factor == doctest::Approx(metric == "nearness" ? 1 : 1e-3));
  }
}

TEST_CASE("an objective without batches or without a loss is refused") {
  Line line;
  Objective no_batches = line.objective(), no_loss = line.objective();
  no_batches.batches = nullptr, no_loss.loss = nullptr;
  for (const Objective& objective : {Objective{}, no_batches, no_loss})
    CHECK_THROWS_WITH_AS(Trainer(objective, "sgd:lr=0.1", test::line_options()),
                         "trainer: the objective has no batches, or no loss", Error);
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

TEST_CASE("after a switch the learning rate rises from its first step on, in a resumed run too") {
  const test::RunFolder folder;
  TrainingOptions options = line_options();
  options.switches = {OptimizerSwitch::parse("3:adamw:lr=0.01")};
  for (const bool resumed : {false, true}) {
    Line line;
    Trainer trainer(line.objective(), "sgd:lr=0.02", options, folder.path);
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      if (!resumed && record.step == 7) trainer.stop();
    }});
    CHECK(trainer.resume() == resumed);
    const TrainingResult result = trainer.run();
    CHECK(result.switches[0].warmup == 10);
    for (const StepRecord& step : result.steps)
      CHECK(step.lr_factor ==
            (step.step > 3 && step.step < 13 ? static_cast<double>(step.step - 3) / 10 : 1));
  }
}

TEST_CASE("a second switch leaves what is left of the first one's rise") {
  Line line;
  TrainingOptions options = line_options();
  options.switches = {OptimizerSwitch::parse("3:adamw:lr=0.01"),
                      OptimizerSwitch::parse("9:adamw:lr=0.02")};
  const TrainingResult result = Trainer(line.objective(), "sgd:lr=0.02", options).run();
  CHECK(result.switches[1].slots[0].how == SlotConversion::How::copied);
  CHECK(result.switches[1].warmup == 4);
  CHECK(result.steps[8].lr_factor == 0.6);
  CHECK(result.steps[9].lr_factor == 0.25);
  CHECK(result.steps[12].lr_factor == 1);
}

TEST_CASE("an epoch's loss is the mean over its texts, without those of steps that were skipped") {
  TrainingOptions options{.epochs = 2, .batch = BatchSize::of_texts(20)};  // of 96 texts
  options.non_finite = NonFinite::skip;
  nn::Classifier model(small_task().config);
  model.initialize(1);
  Objective objective = classification(model, small_task().data, options);
  objective.loss = [loss = objective.loss](std::span<const i64> batch, const nn::Pass& pass) {
    BatchLoss result = loss(batch, pass);
    if (pass.step == 2) result.loss = test::times(result.loss, kInfinity);
    return result;
  };
  const TrainingResult result = Trainer(objective, "adamw:lr=0.03", options).run();
  REQUIRE(result.evaluations.size() == 2);
  CHECK(result.steps[0].loss == doctest::Approx(std::log(6)).epsilon(0.1));  // of six classes
  for (const EvaluationRecord& evaluation : result.evaluations) {
    double sum = 0, texts = 0;
    for (const StepRecord& step : result.steps)
      if (step.epoch == evaluation.epoch && !step.skipped)
        sum += step.loss * static_cast<double>(step.texts),
            texts += static_cast<double>(step.texts);
    CHECK(evaluation.train_loss == doctest::Approx(sum / texts));
  }
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

TEST_CASE("a trainer that makes its optimizer freezes, groups and decays by layer") {
  TrainingOptions options{.epochs = 1, .batch = BatchSize::of_texts(16), .watch = 0};
  options.freeze = {"embeddings"};
  options.groups = {GroupPattern::parse("^classifier:lr=0")};
  options.layer_decay = 0.5;
  const auto model_of_seed = [] {
    auto model = std::make_unique<nn::Classifier>(small_task().config);
    model->initialize(1);
    return model;
  };
  const auto start = model_of_seed(), model = model_of_seed();
  const auto objective = [&] { return classification(*model, small_task().data, options); };
  Optimizer given = make_optimizer("adamw:lr=1e-3", model->parameters());
  CHECK_THROWS_WITH_AS(Trainer(objective(), given, options),
                       doctest::Contains("freeze would come too late for an optimizer that is"),
                       Error);
  CHECK_THROWS_AS(Trainer(objective(), "adamw:betas=2", options), Error);
  TrainingOptions switching = options;
  switching.switches = {OptimizerSwitch::parse("1000000:lion")};  // after the last step
  CHECK_THROWS_AS(Trainer(objective(), "adamw:lr=1e-3", switching), Error);
  CHECK(std::ranges::all_of(model->parameters(),
                            &Parameter::trainable));  // nothing is frozen for that
  Trainer trainer(objective(), "adamw:lr=1e-3:weight_decay=0", options);
  const Json groups = trainer.optimizer().options()["groups"];
  std::set<double> rates;
  for (const Json& group : groups) rates.insert(group["options"]["lr"].get<double>());
  CHECK(rates == std::set<double>{0, 2.5e-4, 5e-4, 1e-3});
  trainer.run();
  const std::vector<Parameter*> before = start->parameters(), after = model->parameters();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::string& name = after[i]->name;
    CAPTURE(name);
    const bool stays =
        name.find("embeddings") != std::string::npos || name.starts_with("classifier");
    CHECK(after[i]->trainable == (name.find("embeddings") == std::string::npos));
    CHECK((test::values_of({before[i]}) == test::values_of({after[i]})) == stays);
  }
}
