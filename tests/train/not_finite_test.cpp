/// What training does where numbers are not finite.
#include "core/ops/finite.hpp"
#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"
#include "train/collect.hpp"
#include "train/report.hpp"

using namespace minima;
using test::kInfinity, test::Line, test::line_options, test::times;

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

TEST_CASE("weights that an update makes infinite are found in that step") {
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=1e38", line.objective().parameters);
  CHECK_THROWS_WITH_AS(
      Trainer(line.objective(), optimizer, line_options()).run(),
      doctest::Contains("'slope' is not finite at element 0 after the update of step 1"), Error);
}

TEST_CASE("of an eps that is 0 it is said that it may be why") {
  Line decayed;
  CHECK_THROWS_WITH_AS(
      Trainer(decayed.objective(), "adafactor-torch:lr=10:weight_decay=1e38", line_options()).run(),
      doctest::Contains("by adafactor-torch; a lower learning rate may help"), Error);
  for (const char* spec : {"adamw:eps=0", "adafactor:eps1=0"}) {
    Line line;
    line.poison = [](const Variable& loss, i64) { return times(loss, 0); };
    CHECK_THROWS_WITH_AS(Trainer(line.objective(), spec, line_options()).run(),
                         doctest::Contains("an eps above 0"), Error);
  }
}

TEST_CASE("a log tells why training failed, and forgets it when training is resumed") {
  const test::RunFolder folder;
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=1e38", line.objective().parameters);
  std::string error;
  try {
    Trainer(line.objective(), optimizer, line_options(), folder.path).run();
  } catch (const TrainingFailed& failure) {
    error = failure.what();
  }
  const auto log = folder.path / "metrics.jsonl";
  CHECK(read_metrics(log).failed == error);
  CHECK_FALSE(read_metrics(log, std::numeric_limits<u64>::max(), 1).failed);  // from a checkpoint
  const Json all = collect_runs({folder.path});
  CHECK(all["runs"].empty());
  REQUIRE(all["failed"].size() == 1);
  CHECK(all["failed"][0]["error"] == error);
  CHECK(report_html(all).find("failed after") != std::string::npos);
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

TEST_CASE("a step that is not finite can be skipped, and changes nothing") {
  for (const NonFinite policy : {NonFinite::skip, NonFinite::lower_scale}) {
    TrainingOptions options = line_options();
    options.non_finite = policy;
    Line line;
    line.poison = [](const Variable& loss, i64 step) {
      const bool bad = step == 5 || step == 8 || step == 9;
      return bad ? mul(loss, Variable(Tensor::full({}, kInfinity))) : loss;
    };
    std::vector<double> slopes{1};
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    Trainer trainer(line.objective(), optimizer, options);
    trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      CHECK(record.skipped == (record.step == 5 || record.step == 8 || record.step == 9));
      slopes.push_back(line.slope.value.item());
    }});
    const TrainingResult result = trainer.run();
    CHECK(slopes[5] == slopes[4]);
    CHECK(slopes[6] != slopes[5]);
    REQUIRE(result.alarms.size() == 2);  // one of a row
    CHECK(result.alarms[0].step == 5);
    CHECK(result.alarms[1].step == 8);
    for (const EvaluationRecord& record : result.evaluations)
      CHECK(std::isfinite(record.train_loss));
    CHECK(line.slope.value.item() == doctest::Approx(3).epsilon(1e-2));
  }
}

TEST_CASE("twenty steps in a row may be skipped, and no more") {
  TrainingOptions options = line_options();
  options.non_finite = NonFinite::skip;
  options.epochs = 10;
  const auto run = [&](i64 bad) {
    Line line;
    line.poison = [bad](const Variable& loss, i64 step) {
      return step > 1 && step <= 1 + bad ? mul(loss, Variable(Tensor::full({}, kInfinity))) : loss;
    };
    Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
    return Trainer(line.objective(), optimizer, options).run();
  };
  CHECK(run(20).steps.size() == 40);
  CHECK_THROWS_WITH_AS(run(21), doctest::Contains("21 steps in a row were skipped, the last is 22"),
                       Error);
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

TEST_CASE("the first element that is not finite is found, in every type and any length") {
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16})
    for (const i64 n : {1, 7, 1000, 300'000}) {
      Tensor x = Tensor::full({n}, 60'000).to(type);  // which fp16 still holds
      CHECK(ops::first_non_finite(x) == -1);
      const Tensor bad = Tensor::full({1}, kInfinity).to(type);
      x.rows(n - 1, n).copy_from(bad);
      CHECK(ops::first_non_finite(x) == n - 1);
      x.rows(n / 2, n / 2 + 1).copy_from(Tensor::full({1}, std::nan("")).to(type));
      CHECK(ops::first_non_finite(x) == n / 2);
    }
  CHECK(ops::first_non_finite(Tensor::full({3}, 7).to(DType::i64)) == -1);
}
