/// Whole runs on the project's own texts, small enough for a test.
#include <fstream>

#include "core/buffer.hpp"
#include "core/cpu/threads.hpp"
#include "core/files/file.hpp"
#include "optim/registry.hpp"
#include "tests/data/files.hpp"
#include "tests/optim/cut_momentum.hpp"
#include "tests/support.hpp"
#include "tests/train/small_task.hpp"
#include "train/memory.hpp"
#include "train/model_directory.hpp"

using namespace minima;

namespace {

using test::short_training, test::small_task;

std::vector<float> weights(nn::Classifier& model) { return test::values_of(model.parameters()); }

}  // namespace

TEST_CASE(
    "the same seed gives the same bits in two runs and for 1, 2 and 3 threads, for every "
    "optimizer") {
  const int before = threads();
  for (const std::string spec : {"adamw", "adafactor", "adamw8bit:min_8bit_size=64", "sgd"}) {
    CAPTURE(spec);
    set_threads(1);
    const Run one = run_training(small_task(), with_defaults(spec), short_training(), {});
    for (int n : {1, 2, 3}) {
      CAPTURE(n);
      set_threads(n);
      const Run other = run_training(small_task(), with_defaults(spec), short_training(), {});
      CHECK(weights(*other.model) == weights(*one.model));
      CHECK(other.record["train_loss"] == one.record["train_loss"]);
      CHECK(other.record["test"] == one.record["test"]);
    }
  }
  set_threads(before);
}

TEST_CASE(
    "a learning rate that nobody gave is that of a small encoder, or of a rule from outside its "
    "own") {
  register_rule<test::CutMomentum>();
  CHECK(with_defaults("lion") == "lion:lr=0.0002");
  CHECK(with_defaults("adafactor:scale_parameter=false") ==
        "adafactor:scale_parameter=false:lr=0.001:relative_step=false");
  CHECK(with_defaults("adamw:state=bf16") == "adamw:state=bf16:lr=0.001");
  CHECK(with_defaults("adamw", Start::encoder) == "adamw:lr=0.0001");
  CHECK(with_defaults("adamw", Start::small_encoder) == "adamw:lr=0.0005");
  CHECK(with_defaults("cut_momentum:beta=0.5") == "cut_momentum:beta=0.5:lr=0.125");
  CHECK(with_defaults("cut_momentum", Start::encoder) == "cut_momentum:lr=0.0125");
  CHECK(with_defaults("cut_momentum:lr=2") == "cut_momentum:lr=2");
  CHECK_THROWS_AS(with_defaults("nobody"), Error);
  // A rate beside the spec makes no other optimizer of it; one in it is all that was asked for.
  CHECK(with_defaults("sgd") == "sgd:lr=0.1:momentum=0.9");
  CHECK(with_defaults("sgd", Start::encoder, 2) == "sgd:lr=2:momentum=0.9");
  CHECK(with_defaults("sgd:momentum=0", Start::scratch, 2) == "sgd:momentum=0:lr=2");
  CHECK(with_defaults("sgd:lr=2") == "sgd:lr=2");
  CHECK(with_defaults("adafactor") == "adafactor:lr=0.03:relative_step=false");
  CHECK(with_defaults("adafactor", Start::scratch, 2) == "adafactor:lr=2:relative_step=false");
  CHECK(with_defaults("adafactor:relative_step=false") == "adafactor:relative_step=false:lr=0.03");
  CHECK(with_defaults("adafactor:lr=2") == "adafactor:lr=2:relative_step=false");
  for (const char* own :
       {"adafactor:relative_step=true", "adafactor:warmup_init=true", "adafactor:lr=none",
        "adafactor:lr=0.1:relative_step=false", "adafactor:lr=0.1:warmup_init=true"})
    CHECK(with_defaults(own) == own);
}

TEST_CASE("another seed gives other weights, order and dropout") {
  TrainingOptions options = short_training();
  const Run one = run_training(small_task(), "adamw:lr=1e-3", options, {});
  options.seed = 2;
  const Run two = run_training(small_task(), "adamw:lr=1e-3", options, {});
  CHECK(weights(*one.model) != weights(*two.model));
  CHECK(one.record["train_loss"] != two.record["train_loss"]);
}

TEST_CASE(
    "training lowers the loss, and the model is left with the weights that were best on dev") {
  TrainingOptions options = short_training();
  options.epochs = 20;
  const Run run = run_training(small_task(), "adamw:lr=1e-2", options, {});
  CHECK(run.result.evaluations.back().train_loss < 0.8 * run.result.evaluations.front().train_loss);
  double best = 0;
  for (const EvaluationRecord& epoch : run.result.evaluations)
    best = std::max(best, epoch.dev.accuracy());
  CHECK(run.result.dev().accuracy() == best);
  CHECK(evaluate(*run.model, small_task().data.dev).accuracy() == best);
  CHECK(evaluate(*run.model, small_task().data.test).loss == run.test.loss);
}

TEST_CASE(
    "a run's folder holds its configuration, a line of metrics for each step, and a model that "
    "predicts the same") {
  const test::RunFolder folder;
  const Run run = run_training(small_task(), "adamw8bit:lr=1e-3", short_training(), folder.path);
  CHECK(read_json(folder.path / "run.json")["optimizer"]["optimizer"] == "adamw8bit");

  std::ifstream metrics(folder.path / "metrics.jsonl");
  i64 steps = 0, epochs = 0;
  for (std::string line; std::getline(metrics, line);) {
    const Json json = parse_json(line, "metrics");
    steps += json.contains("grad_norm");
    epochs += json.contains("train_loss");
  }
  CHECK(steps == 12);
  CHECK(epochs == 2);

  const TextClassifier loaded = load_model(folder.path / "final");
  CHECK(loaded.label_names == small_task().dataset.label_names);
  CHECK(loaded.max_length == 24);  // of the texts it learned from, not its positions
  const TokenizedSplit split = tokenize(loaded.tokenizer, small_task().dataset.test, 24);
  CHECK(
      test::same_bits(predict(*loaded.model, split), predict(*run.model, small_task().data.test)));
}

TEST_CASE("a model directory that lacks a file or does not fit itself is refused by name") {
  const test::RunFolder folder;
  CHECK_THROWS_WITH_AS(load_model(folder.path / "none"), doctest::Contains("is not a folder"),
                       Error);
  run_training(small_task(), "sgd:lr=0.1", short_training(), folder.path);
  const auto model = folder.path / "final";
  const std::string vocabulary = read_file(model / "vocab.txt");
  std::filesystem::remove(model / "tokenizer.json");  // which is asked first
  write_file(model / "vocab.txt", vocabulary + "onemore\n");
  CHECK_THROWS_WITH_AS(load_model(model), doctest::Contains("the tokenizer has"), Error);
  write_file(model / "vocab.txt", vocabulary);
  const Json config = read_json(model / "config.json");
  // The sizes are compared with the file before memory of that size is asked for.
  for (const auto& [key, size] : {std::pair<const char*, i64>{"dim", 32},
                                  {"n_layers", i64{1} << 31},
                                  {"hidden_dim", i64{1} << 31},
                                  {"max_position_embeddings", i64{1} << 31}}) {
    CAPTURE(key);
    Json wrong = config;
    wrong[key] = size;
    write_file(model / "config.json", wrong.dump());
    CHECK_THROWS_WITH_AS(load_model(model), doctest::Contains("config.json asks for"), Error);
  }
  std::filesystem::remove(model / "model.safetensors");
  CHECK_THROWS_WITH_AS(load_model(model), doctest::Contains("has no model.safetensors"), Error);
}

TEST_CASE("a learning rate that blows up ends in an error that names the step") {
  CHECK_THROWS_WITH_AS(run_training(small_task(), "sgd:lr=1e30", {.epochs = 1, .clip_norm = 0}, {}),
                       doctest::Contains(" in step "), Error);
}

TEST_CASE("the peak of memory is that of steps, whatever is evaluated") {
  Task task = small_task();
  const auto peak = [&](i64 texts) {
    TrainingOptions options = short_training();
    options.batch = BatchSize::of_texts(texts);
    return run_training(task, "adamw", options, {}).record["peak_bytes"].get<i64>();
  };
  const i64 one = peak(1), many = peak(16);
  CHECK(one < many);
  task.data.dev = task.data.test = task.data.train;  // more texts than a step has
  task.dataset.dev = task.dataset.test = task.dataset.train;
  CHECK(peak(1) == one);
  CHECK(peak(16) == many);
}

TEST_CASE("without a number of epochs some 25,000 texts are seen, in 3 to 20 epochs") {
  for (const auto& [texts, epochs] :
       {std::pair{0, 20}, {1000, 20}, {2600, 10}, {4000, 6}, {50'000, 3}})
    CHECK(default_epochs(texts) == epochs);
}

TEST_CASE("the number of steps is known before training, by texts and by tokens") {
  for (const BatchSize batch : {BatchSize::of_texts(17), BatchSize::of_tokens(200)}) {
    TrainingOptions options = short_training();
    options.batch = batch;
    const Run run = run_training(small_task(), "sgd:lr=0.1", options, {});
    CHECK(static_cast<i64>(run.result.steps.size()) ==
          total_steps(shuffled(small_task().data.train, options.batch, options.seed), options));
  }
}

TEST_CASE("accumulated batches step as one batch of all their texts, dropout included") {
  for (const i64 texts : {4, 7}) {  // with 7 the last batch of 14 is shorter than the others
    CAPTURE(texts);
    TrainingOptions large = short_training(), small = short_training();
    small.batch = BatchSize::of_texts(texts);
    small.accumulate = 5;
    large.batch = BatchSize::of_texts(5 * texts);
    const Run one = run_training(small_task(), "adamw:lr=1e-3", large, {});
    const Run parts = run_training(small_task(), "adamw:lr=1e-3", small, {});
    CHECK(static_cast<i64>(parts.result.steps.size()) ==
          total_steps(shuffled(small_task().data.train, small.batch, small.seed), small));
    REQUIRE(parts.result.steps.size() == one.result.steps.size());
    for (std::size_t i = 0; i < one.result.steps.size(); ++i) {
      CAPTURE(i);
      const StepRecord &a = parts.result.steps[i], &b = one.result.steps[i];
      CHECK(a.texts == b.texts);
      CHECK(a.tokens == b.tokens);
      CHECK(a.lr_factor == b.lr_factor);
      // Sums in another order; Adam's division lets their rounding grow with the steps.
      CHECK(a.loss == doctest::Approx(b.loss).epsilon(i == 0 ? 1e-6 : 1e-4));
      CHECK(a.grad_norm == doctest::Approx(b.grad_norm).epsilon(i == 0 ? 1e-6 : 1e-3));
    }
  }
}

TEST_CASE("the gradient of accumulated batches is that of the larger batch within 1e-6") {
  TrainingOptions small{.epochs = 1,
                        .batch = BatchSize::of_texts(12),
                        .schedule = "constant",
                        .warmup = 0,
                        .clip_norm = 0};
  TrainingOptions large = small;
  small.accumulate = 8;
  large.batch = BatchSize::of_texts(96);
  // One step of SGD at rate 1 moves each weight by its gradient.
  nn::Classifier start(small_task().config);
  start.initialize(small.seed);
  const Run one = run_training(small_task(), "sgd:lr=1", large, {});
  const Run parts = run_training(small_task(), "sgd:lr=1", small, {});
  REQUIRE(one.result.steps.size() == 1);
  REQUIRE(parts.result.steps.size() == 1);
  const std::vector<float> w = weights(start), a = weights(*parts.model), b = weights(*one.model);
  double square = 0, difference = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    square += (b[i] - w[i]) * (b[i] - w[i]);
    difference += (a[i] - b[i]) * (a[i] - b[i]);
  }
  CHECK(square > 1e-4);
  CHECK(std::sqrt(difference) <= 1e-6 * std::sqrt(square) + 1e-7);
}

TEST_CASE("watching changes no bit, and is written where it was asked for") {
  const test::RunFolder folder;
  TrainingOptions options = short_training();
  options.watch = 0;
  const Run blind =
      run_training(small_task(), "adafactor:lr=0.03:relative_step=false", options, {});
  options.watch = 3;
  const Run seen =
      run_training(small_task(), "adafactor:lr=0.03:relative_step=false", options, folder.path);
  CHECK(weights(*seen.model) == weights(*blind.model));
  CHECK(blind.record["watched"]["steps"].empty());
  CHECK(seen.record["watched"]["steps"] == Json({3, 6, 9, 12}));
  CHECK(seen.record["watched"]["tensors"].size() == seen.model->parameters().size());

  std::ifstream metrics(folder.path / "metrics.jsonl");
  std::vector<i64> steps;
  for (std::string line; std::getline(metrics, line);) {
    const Json json = parse_json(line, "metrics");
    if (!json.contains("tensors")) continue;
    steps.push_back(json["step"].get<i64>());
    const Json& tensor = json["tensors"]["classifier.weight"];
    CHECK(
        tensor["ratio"].get<double>() ==
        test::about(tensor["update_rms"].get<double>() / tensor["weight_rms"].get<double>(), 1e-4));
    CHECK(tensor["step_size"].get<double>() > 0);
    CHECK(json.contains("clipped"));
  }
  CHECK(steps == std::vector<i64>{3, 6, 9, 12});
}

TEST_CASE("a loss that is not finite rings before the run fails") {
  const test::RunFolder folder;
  std::vector<Alarm> alarms;
  Callback observer;
  observer.alarm = [&](const Alarm& alarm) { alarms.push_back(alarm); };
  TrainingOptions options = short_training();
  options.warmup = 0;
  CHECK_THROWS_AS(run_training(small_task(), "adamw:lr=1e18", options, folder.path, observer),
                  Error);
  REQUIRE(alarms.size() == 1);
  CHECK(alarms[0].text().ends_with(" is not finite"));
  CHECK(read_file(folder.path / "metrics.jsonl").find("{\"alarm\":") != std::string::npos);
}

TEST_CASE("a tensor that suddenly moves far beside its size rings once, and no other does") {
  TrainingOptions options = short_training();
  options.epochs = 6;  // 36 steps
  options.watch = 1;
  for (const std::string storage : {"", ":block8=pre_classifier.weight"}) {
    CAPTURE(storage);
    nn::Classifier model(small_task().config);
    model.initialize(1);
    Optimizer optimizer =
        make_optimizer("adamw:lr=1e-4" + storage, decay_groups(model.parameters()));
    Callback observer;
    observer.step = [&](const StepRecord& record, i64) {
      if (record.step != 20) return;
      for (Parameter* parameter : model.parameters())
        if (parameter->name == "pre_classifier.weight")
          for (float& w : parameter->value.span<float>()) w *= 0.01f;
    };
    Trainer trainer(classification(model, small_task().data, options), optimizer, options);
    trainer.callbacks.push_back(observer);
    const TrainingResult result = trainer.run();
    REQUIRE(result.alarms.size() == 1);
    CHECK(result.alarms[0].tensor == "pre_classifier.weight");
    CHECK(result.alarms[0].step == 21);
    CHECK(result.alarms[0].value > 10 * result.alarms[0].usual);
    const std::string told = Alarm::from_json(result.alarms[0].to_json()).text();
    CHECK(told.ends_with("option fp32=NAME keeps its state, now in 8 bits, in 32") ==
          !storage.empty());
  }
}

TEST_CASE("a group's options reach the optimizer, also the one that takes over") {
  TrainingOptions options = short_training();
  options.groups = {GroupPattern::parse("embeddings:lr=0")};
  options.switches = {OptimizerSwitch::parse("50%:lion:lr=1e-3")};
  nn::Classifier start(small_task().config);
  start.initialize(options.seed);
  const Run run = run_training(small_task(), "adamw:lr=1e-3:weight_decay=0", options, {});
  for (std::size_t i = 0; i < start.parameters().size(); ++i) {
    const Parameter &before = *start.parameters()[i], &after = *run.model->parameters()[i];
    CAPTURE(before.name);
    const bool still = test::same_bits(before.value, after.value);
    CHECK(still == (before.name.find("embeddings") != std::string::npos));
  }
  options.groups = {GroupPattern::parse("nowhere:lr=0")};
  CHECK_THROWS_WITH_AS(run_training(small_task(), "adamw", options, {}),
                       doctest::Contains("'nowhere'"), Error);
}

TEST_CASE(
    "a change of the optimizer writes a checkpoint, says what became of the state, and the loss "
    "goes on falling") {
  for (const std::string next :
       {"adamw8bit:lr=5e-3:min_8bit_size=64", "adafactor:lr=0.03:relative_step=false",
        "lion:lr=5e-4", "sgd:lr=0.05:momentum=0.9", "came:lr=1e-3"}) {
    CAPTURE(next);
    const test::RunFolder folder;
    TrainingOptions options = short_training();
    options.epochs = 16;
    options.watch = 0;
    options.switches = {OptimizerSwitch::parse("50%:" + next)};
    const Run run = run_training(small_task(), "adamw:lr=5e-3", options, folder.path);
    REQUIRE(run.result.switches.size() == 1);
    const SwitchRecord& record = run.result.switches[0];
    CHECK(record.step == 48);
    CHECK(record.from == "adamw");
    CHECK(record.text().find("exp_avg") != std::string::npos);

    const auto checkpoint = folder.path / "checkpoints" / "step-48";
    const TextClassifier loaded = load_model(checkpoint);
    Optimizer adamw = make_optimizer("adamw:lr=5e-3", decay_groups(loaded.model->parameters()));
    adamw.load(checkpoint / "optimizer.safetensors");

    // The ten steps after it are watched, though --watch is off.
    CHECK(run.record["watched"]["steps"] == Json({49, 50, 51, 52, 53, 54, 55, 56, 57, 58}));
    const auto loss = [&](std::size_t first, std::size_t last) {
      double sum = 0;
      for (std::size_t i = first; i < last; ++i) sum += run.result.steps[i].loss;
      return sum / static_cast<double>(last - first);
    };
    CHECK(loss(48, 60) < 1.1 * loss(36, 48));
    CHECK(loss(84, 96) < loss(36, 48));
    CHECK(read_file(folder.path / "metrics.jsonl").find("{\"switch\":") != std::string::npos);
  }
}

TEST_CASE("a training is refused where the machine cannot hold the state of a later optimizer") {
  Task task = small_task();
  const auto take = [&](i64 bytes) {  // for the weights, most of them embeddings
    task.config.dim = 2048, task.config.heads = 32, task.config.hidden = 64, task.config.layers = 1;
    task.config.vocabulary = bytes / (4 * task.config.dim);
    for (; task.config.vocabulary > 1 << 24; task.config.vocabulary /= 2)
      task.config.dim *= 2, task.config.heads *= 2;
  };
  TrainingOptions options;
  take(available_memory() / 2);
  check_fits(task, "adafactor", options);
  options.switches = {OptimizerSwitch::parse("50%:adamw")};
  CHECK_THROWS_WITH_AS(check_fits(task, "adafactor", options),
                       doctest::Contains("state of 'adamw'"), Error);
  // Of what the weights take AdamW and Adam keep twice as much: each alone fits, and not side by side.
  take(available_memory() / 4);
  for (const std::string other : {"50%:adafactor", "50%:adam", "70%:adam"}) {
    CAPTURE(other);
    options.switches = {OptimizerSwitch::parse(other), OptimizerSwitch::parse("60%:adafactor")};
    if (other == "50%:adam")
      CHECK_THROWS_WITH_AS(check_fits(task, "adamw", options),
                           doctest::Contains("the change of the optimizer holds"), Error);
    else
      check_fits(task, "adamw", options);
  }
  // Where batches are accumulated a step holds more, and in bf16.
  take(8 * available_memory());
  options = {.accumulate = 4, .precision = Precision::bf16};
  const StepMemory step = predict_step(task.config, BatchShape::of_texts(1, 1),
                                       {.precision = DType::bf16, .accumulate = 2});
  CHECK_THROWS_WITH_AS(
      check_fits(task, "lion", options),
      doctest::Contains(
          fmt::format("holds {} MB", predict_optimizer("lion", step).peak_bytes >> 20).c_str()),
      Error);
}

TEST_CASE("a training is refused where the machine cannot hold what its largest batch keeps") {
  Task task = small_task();
  task.config.layers = 100, task.config.dim = 64, task.config.heads = 1, task.config.hidden = 64;
  constexpr i64 kTexts = 4096;
  task.config.positions = 4096;
  TokenizedSplit& train = task.data.train;
  train.labels.assign(kTexts, 0);
  train.offsets.resize(kTexts + 1);
  for (i64 i = 0; i < kTexts; ++i) train.offsets[i + 1] = train.offsets[i] + (i == 0 ? 4096 : 8);
  check_fits(task, "adamw", {});
  for (i64 i = 0; i < kTexts; ++i) train.offsets[i + 1] = train.offsets[i] + 4096;
  check_fits(task, "adamw", {.batch = BatchSize::of_texts(1)});
  const TrainingOptions all{.batch = BatchSize::of_texts(kTexts)};
  CHECK_THROWS_WITH_AS(
      check_fits(task, "adamw", all),
      doctest::Contains("memory: a step of 4096 texts with 16777216 tokens holds "), Error);
}

TEST_CASE("a switch that never comes is refused before anything is written") {
  const test::RunFolder folder;
  TrainingOptions options = short_training();
  options.switches = {OptimizerSwitch::parse("12:lion")};
  CHECK_THROWS_WITH_AS(run_training(small_task(), "adamw", options, folder.path / "run"),
                       doctest::Contains("before the last"), Error);
  options.switches = {OptimizerSwitch::parse("6:lion:momentum=1")};
  CHECK_THROWS_WITH_AS(validate(options), doctest::Contains("momentum"), Error);
  CHECK_FALSE(std::filesystem::exists(folder.path / "run"));
}
