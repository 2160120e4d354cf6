/// The Accelerator by itself: fp16's scale, and its state.
#include "train/accelerator.hpp"

#include "autograd/autocast.hpp"
#include "autograd/layers.hpp"
#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"
#include "train/collect.hpp"
#include "train/compare.hpp"
#include "train/report.hpp"

using namespace minima;
using test::Line, test::times;

TEST_CASE("fp16 scales the loss: half of it after an overflow, twice after a thousand good steps") {
  // The gradient of the product is 2 · scale; above 65,504 it is infinite.
  struct Product {
    Parameter w{.name = "w", .value = Tensor::full({1, 2}, 1), .gradient = {}};
    Optimizer optimizer = make_optimizer("sgd:lr=1e-4", {&w});
    Accelerator accelerator{{.schedule = "constant", .warmup = 0, .precision = Precision::fp16}};
    double factor;
    std::vector<StepRecord> steps;

    explicit Product(double factor = 2, i64 all = 1010) : factor(factor) {
      accelerator.prepare(
          {&w}, optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, all);
    }
    void run(i64 until) {
      while (accelerator.steps() < until && accelerator.next()) {
        const Autocast narrow(accelerator.pass().precision);
        accelerator.backward(times(sum(linear(Tensor::full({1, 2}, 0.1), w)), factor));
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

  Product small(0.01, 2001);
  small.run(2001);
  CHECK(small.steps[999].scale == 65536);
  CHECK(small.steps[1000].scale == 131072);
  CHECK(small.steps[1999].scale == 131072);
  CHECK(small.steps[2000].scale == 262144);

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

TEST_CASE("a share of all steps for warm-up is rounded to the nearest") {
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", line.objective().parameters);
  Accelerator accelerator({.schedule = "constant", .warmup = 0.29});  // 0.29 · 100 < 29
  accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 100);
  i64 rising = 0;
  while (accelerator.next()) {
    accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss);
    rising += accelerator.step().lr_factor < 1;
  }
  Schedule schedule = parse_schedule("constant");
  schedule.total = 100, schedule.warmup = 29;
  i64 expected = 0;
  for (i64 step = 0; step < 100; ++step) expected += schedule.factor(step) < 1;
  CHECK(rising == expected);
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

TEST_CASE("each batch is gone back through once, and a loss that is refused counts for nothing") {
  Line line;
  Optimizer optimizer = make_optimizer("sgd:lr=0.1", line.objective().parameters);
  Accelerator accelerator({.accumulate = 2, .schedule = "constant", .warmup = 0});
  CHECK_THROWS_WITH_AS(accelerator.prepare({&line.slope}, optimizer, {}, 4),
                       "accelerator: prepare was given no batches", Error);
  accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 4);
  const auto loss = [&] { return square(Variable(line.slope)); };
  const auto refuses = [&](const Variable& wrong, const char* words) {
    CHECK_THROWS_WITH_AS(accelerator.backward(wrong), doctest::Contains(words), Error);
  };
  refuses(loss(), "without a batch at hand");
  for (i64 step = 0; step < 2; ++step) {
    for (i64 batch = 0; batch < 2; ++batch) {
      REQUIRE(accelerator.next());
      refuses(Variable(Tensor::zeros({2})), "the loss is [2], not a single number");
      refuses(Variable(Tensor::zeros({})), "depends on no trainable parameter");
      if (batch == 1) CHECK_THROWS_AS(accelerator.step(), Error);  // not heard of
      accelerator.backward(loss());
      refuses(loss(), "without a batch at hand");
    }
    const double before = line.slope.value.item();
    accelerator.step();
    CHECK(line.slope.value.item() == doctest::Approx(before - 0.1 * 2 * before));
    refuses(loss(), "without a batch at hand");
  }
}

TEST_CASE(
    "a log that replaces an earlier run's replaces its checkpoints, and none of another run is "
    "taken for one's own") {
  const test::RunFolder folder;
  struct Training {
    Training(double slope, const std::filesystem::path& run) {
      line.slope.value.fill(slope);
      accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 8);
      accelerator.log_to(run, Earlier::replaced);
    }
    double until(i64 steps) {
      while (accelerator.steps() < steps && accelerator.next()) {
        accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss);
        accelerator.step();
      }
      return line.slope.value.item();
    }
    Line line;
    Optimizer optimizer = make_optimizer("sgd:lr=0.001", {&line.slope});
    Accelerator accelerator{{.schedule = "constant", .warmup = 0}};
  };
  const auto slope_in = [](const std::filesystem::path& checkpoint) {
    return SafetensorsFile(checkpoint / "model.safetensors").read("slope").item();
  };
  Training first(1, folder.path);
  for (const i64 step : {4, 8}) first.until(step), first.accelerator.checkpoint(folder.path);
  Training second(100, folder.path);
  CHECK(!newest_checkpoint(folder.path, nullptr));
  const double slope = second.until(4);
  CHECK(slope_in(second.accelerator.checkpoint(folder.path)) == slope);
  // Where no log says that another run has begun, the step's checkpoint is still one's own.
  Line line;
  line.slope.value.fill(50);
  Optimizer optimizer = make_optimizer("sgd:lr=0.001", {&line.slope});
  Accelerator third({.schedule = "constant", .warmup = 0});
  third.prepare({&line.slope}, optimizer, line.objective().batches, 8);
  while (third.steps() < 4 && third.next()) {
    third.backward(line.objective().loss(third.indices(), third.pass()).loss);
    third.step();
  }
  CHECK(slope_in(third.checkpoint(folder.path)) == line.slope.value.item());
}

TEST_CASE(
    "a loop of one's own is reported by a loss of no unit, and no speed where it counts no "
    "tokens") {
  const test::RunFolder folder;
  const auto train = [&](const std::string& name, i64 tokens) {
    Line line;
    Optimizer optimizer = make_optimizer("adamw", {&line.slope});  // it has state
    Accelerator accelerator({.schedule = "constant", .warmup = 0});
    accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 8);
    accelerator.log_to(folder.path / name);
    while (accelerator.next()) {
      accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss, 1,
                           tokens);
      accelerator.step();
      if (accelerator.epoch_ended()) accelerator.observe(line.objective().evaluate());
    }
    return folder.path / name;
  };
  const std::filesystem::path uncounted = train("uncounted", 0), counted = train("counted", 7);
  const auto speed = [](const Json& all) { return all["runs"][0]["tokens_per_second"]; };
  CHECK(speed(collect_runs({uncounted})).is_null());
  CHECK(speed(collect_runs({counted})) > 0);
  CHECK_FALSE(test::contains(comparison_table(collect_runs({uncounted})), " 0 "));
  const std::string alone = report_html(collect_runs({uncounted})),
                    both = report_html(collect_runs({uncounted, counted}));
  CHECK_FALSE(test::contains(alone, "tokens/s"));
  CHECK(test::contains(both, "tokens/s"));
  for (const std::string& page : {alone, both}) {
    CHECK_FALSE(test::contains(page, "cross-entropy"));
    CHECK(test::contains(page, ">loss</text>"));
    CHECK_FALSE(test::contains(page, "<data value=\"0\">0</data>"));
  }
}

TEST_CASE("a backward that ended half way is not called anew: the step begins anew") {
  Parameter first{"first", Tensor::full({}, 2)}, second{"second", Tensor::full({}, 3)};
  Optimizer optimizer = make_optimizer("sgd:lr=1", {&first, &second});
  Accelerator accelerator({.accumulate = 2, .schedule = "constant", .warmup = 0});
  accelerator.prepare(
      {&first, &second}, optimizer,
      [](i64) {
        return std::vector<std::vector<i64>>{{0}, {1}};
      },
      1);
  bool throws = true;
  const auto loss = [&] {
    const Variable x(first);
    const Variable own = record(OpName::elsewhere("own"), x.value(), {x}, [&](const Tensor& dy) {
      check(!throws, "own: throws");
      return Grads{dy};
    });
    return own * Variable(second);  // the gradient of the second is there by then
  };
  for (const bool again : {false, true}) {
    REQUIRE(accelerator.next());
    accelerator.backward(Variable(second));
    REQUIRE(accelerator.next());
    if (again) break;
    CHECK_THROWS_WITH_AS(accelerator.backward(loss()), "own: throws", Error);
    throws = false;
    CHECK_THROWS_WITH_AS(accelerator.backward(loss()), doctest::Contains("ended half way"), Error);
    accelerator.restore(accelerator.state());
  }
  accelerator.backward(loss());
  accelerator.step();
  CHECK(first.value.item() == 2 - 3 / 2.0);
  CHECK(second.value.item() == 3 - (1 + 2) / 2.0);
}

TEST_CASE("an accelerator that was not prepared is told so by whatever needs an optimizer") {
  const test::RunFolder run;
  Parameter w{"w", Tensor::zeros({2})};
  Accelerator none({});
  const auto refused = [](const auto& call) {
    CHECK_THROWS_WITH_AS(call(), "accelerator: prepare has not been called", Error);
  };
  refused([&] { none.next(); });
  refused([&] { none.log_to(run.path); });
  refused([&] { none.checkpoint(run.path); });
  refused([&] { none.checkpoint_bytes(); });
  refused([&] { none.change_optimizer(make_optimizer("sgd:lr=1", {&w})); });
}

TEST_CASE("an optimizer's parameter that an accelerator does not know is refused") {
  Line line;
  Parameter other{.name = "other", .value = Tensor::full({1}, 1), .gradient = {}};
  Optimizer optimizer = make_optimizer("sgd", std::vector<Parameter*>{&line.slope, &other});
  Accelerator accelerator({});
  CHECK_THROWS_WITH_AS(accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 8),
                       doctest::Contains("the optimizer has 'other'"), Error);
}

TEST_CASE("what is to be trained and gets no gradient is told of once; what is frozen is not") {
  Parameter used{.name = "used", .value = Tensor::full({2}, 1), .gradient = {}};
  Parameter forgotten{.name = "forgotten", .value = Tensor::full({2}, 1), .gradient = {}};
  Parameter frozen{
      .name = "frozen", .value = Tensor::full({2}, 1), .gradient = {}, .trainable = false};
  const std::vector<Parameter*> all{&used, &forgotten, &frozen};
  Optimizer optimizer = make_optimizer("sgd:lr=0.1", all);
  std::vector<Alarm> alarms;
  Json state;
  for (const bool resumed : {false, true}) {
    Accelerator accelerator({});
    accelerator.prepare(
        all, optimizer, [](i64) { return std::vector<std::vector<i64>>{{0}}; }, 3);
    accelerator.on_alarm = [&](const Alarm& alarm) { alarms.push_back(alarm); };
    if (resumed) accelerator.restore(state);
    while ((resumed || accelerator.steps() < 2) && accelerator.next()) {
      accelerator.backward(sum(Variable(used)));
      accelerator.step();
    }
    state = accelerator.state();
  }
  REQUIRE(alarms.size() == 1);
  CHECK(alarms[0].text() ==
        "step 1: no gradient came to forgotten: the loss of its batches does not depend on it");
  CHECK(Alarm::from_json(alarms[0].to_json()).text() == alarms[0].text());
}

TEST_CASE("a batch that a loop passes over without backward() is not dropped in silence") {
  Line line;
  const Objective objective = line.objective();
  Optimizer optimizer = make_optimizer("sgd:lr=0.02", objective.parameters);
  const auto prepared = [&](Accelerator& accelerator) {
    accelerator.prepare(objective.parameters, optimizer, objective.batches, 2);
    REQUIRE(accelerator.next());
  };
  const auto learn = [&](Accelerator& accelerator) {
    const BatchLoss batch = objective.loss(accelerator.indices(), accelerator.pass());
    accelerator.backward(batch.loss, batch.weight);
  };
  const auto silent = doctest::Contains("of epoch 1 got no backward()");
  for (const bool first : {true, false}) {
    Accelerator accelerator({.accumulate = 3});
    prepared(accelerator);
    if (!first) {
      learn(accelerator);
      REQUIRE(accelerator.next());
    }
    CHECK_THROWS_WITH_AS(accelerator.next(), silent, Error);
  }
  Accelerator single({});  // the batch is the first and the last of its step
  prepared(single);
  CHECK_THROWS_WITH_AS(single.next(), silent, Error);
  Accelerator accelerator({.accumulate = 2});
  prepared(accelerator);
  learn(accelerator);
  REQUIRE(accelerator.next());
  CHECK_THROWS_WITH_AS(accelerator.step(), doctest::Contains("before backward() has seen all"),
                       Error);
  learn(accelerator);
  CHECK(accelerator.step().step == 1);
}

TEST_CASE("a checkpoint that does not fit the optimizer leaves training where it stood") {
  const test::RunFolder folder;
  struct Training {
    Training(const std::string& spec, i64 steps) : optimizer(make_optimizer(spec, {&line.slope})) {
      accelerator.prepare({&line.slope}, optimizer, line.objective().batches, 8);
      while (accelerator.steps() < steps && accelerator.next()) {
        accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss);
        accelerator.step();
      }
    }
    Line line;
    Optimizer optimizer;
    Accelerator accelerator{{.schedule = "constant", .warmup = 0}};
  };
  Training("adamw:lr=0.02", 5).accelerator.checkpoint(folder.path);
  Training other("lion:lr=0.02", 2);
  const double slope = other.line.slope.value.item();
  const Json before = other.accelerator.state();
  CHECK_THROWS_AS(other.accelerator.resume(*newest_checkpoint(folder.path, nullptr)), Error);
  CHECK(other.accelerator.state() == before);
  CHECK(other.line.slope.value.item() == slope);

  // Nor does one that does not fit the model change the optimizer.
  Line line;
  Parameter more{.name = "more", .value = Tensor::zeros({2}), .gradient = {}, .trainable = false};
  Optimizer optimizer = make_optimizer("adamw:lr=0.02", {&line.slope});
  Accelerator accelerator({.schedule = "constant", .warmup = 0});
  accelerator.prepare({&line.slope, &more}, optimizer, line.objective().batches, 8);
  REQUIRE(accelerator.next());
  accelerator.backward(line.objective().loss(accelerator.indices(), accelerator.pass()).loss);
  accelerator.step();
  const float moment = optimizer.tensors()[0].tensor.data<float>()[0];
  CHECK_THROWS_WITH_AS(accelerator.resume(*newest_checkpoint(folder.path, nullptr)),
                       doctest::Contains("'more' [2] is missing"), Error);
  CHECK(optimizer.tensors()[0].tensor.data<float>()[0] == moment);
}
