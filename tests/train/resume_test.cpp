/// Training that goes on from a checkpoint: every bit as if it had not stopped.
#include <csignal>

#include "autograd/functions.hpp"
#include "core/cpu/threads.hpp"
#include "core/files/file.hpp"
#include "tests/train/fifty_steps.hpp"
#include "train/collect.hpp"
#include "train/compare.hpp"
#include "train/interrupt.hpp"
#include "train/report.hpp"

using namespace minima;
using namespace test;
namespace fs = std::filesystem;

namespace {

/// Copies a run as it was when its checkpoint of `step` was the last one; metrics may have run on.
void copy_until(const fs::path& from, i64 step, const fs::path& to) {
  fs::create_directories(to / "checkpoints");
  const std::string name = fmt::format("step-{}", step);
  fs::copy(from / "checkpoints" / name, to / "checkpoints" / name, fs::copy_options::recursive);
  fs::copy(from / "metrics.jsonl", to / "metrics.jsonl");
}

/// The runs of a comparison, but for what each takes of time and memory.
std::string without_times(const Json& comparison) {
  Json runs = comparison["runs"];
  for (Json& run : runs) {
    for (const char* key :
         {"step_ms", "tokens_per_second", "seconds", "time", "peak_bytes", "others_cores"})
      run.erase(key);
    for (Json& epoch : run["epochs"]) epoch.erase("seconds");
  }
  return runs.dump(1);
}

/// Two runs of fifty steps.
ComparisonOptions two_runs() {
  ComparisonOptions options;
  options.optimizers = {"adamw", "sgd"};
  options.training = fifty_steps();
  return options;
}

/// What they give where nothing stops them.
std::string uninterrupted(ComparisonOptions options) {
  const test::RunFolder whole;
  options.directory = whole.path;
  return without_times(compare(small_task(), options));
}

}  // namespace

TEST_CASE("training resumed at each of 50 steps, with other threads, is that which never stopped") {
  const int before = threads();
  set_threads(1);
  const test::RunFolder whole;
  TrainingOptions options = fifty_steps();
  options.save_every = 1;
  options.keep = 0;
  Training uninterrupted(options, whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  CHECK(uninterrupted.trainer.total_steps() == 50);
  const int counts[] = {1, 2, 3, 4, 8};
  for (i64 step = 1; step < 50; ++step) {
    CAPTURE(step);
    set_threads(counts[step % 5]);
    const test::RunFolder folder;
    copy_until(whole.path, step, folder.path);
    Training resumed(fifty_steps(), folder.path);
    REQUIRE(resumed.trainer.resume());
    CHECK(resumed.trainer.accelerator().steps() == step);
    check_equal(resumed.outcome(resumed.trainer.run()), expected);
  }
  set_threads(before);
}

TEST_CASE(
    "training is resumed after more than 1,000 good steps, of a checkpoint that counts them too") {
  TrainingOptions options = fifty_steps();
  options.accumulate = 1;
  options.steps = 1010;
  options.evaluate_every = 505;
  TrainingOptions saving = options;
  saving.save_every = 1003;
  const test::RunFolder folder;
  Training uninterrupted(saving, folder.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  Training resumed(options, folder.path);
  REQUIRE(resumed.trainer.resume());
  CHECK(resumed.trainer.accelerator().steps() == 1003);
  Json earlier = resumed.trainer.accelerator().state();
  earlier["good_steps"] = 1003;  // as earlier versions wrote
  Training other(options, {});
  Accelerator accelerator({.schedule = options.schedule, .seed = options.seed});
  accelerator.prepare(other.model.parameters(), other.optimizer,
                      shuffled(small_task().data.train, options.batch, options.seed), 1010);
  CHECK_NOTHROW(accelerator.restore(earlier));
  check_equal(resumed.outcome(resumed.trainer.run()), expected);
}

TEST_CASE("training in bf16 and fp16 is resumed bit for bit, with other threads") {
  const int before = threads();
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    set_threads(1);
    TrainingOptions options = fifty_steps();
    options.precision = precision;
    TrainingOptions saving = options;
    saving.save_every = 1;
    saving.keep = 0;
    const test::RunFolder whole;
    Training uninterrupted(saving, whole.path);
    const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
    for (const i64 step : {1, 13, 30, 49}) {
      CAPTURE(step);
      set_threads(1 + static_cast<int>(step) % 4);
      const test::RunFolder folder;
      copy_until(whole.path, step, folder.path);
      Training resumed(options, folder.path);
      REQUIRE(resumed.trainer.resume());
      check_equal(resumed.outcome(resumed.trainer.run()), expected);
    }
  }
  set_threads(before);
}

TEST_CASE("Ctrl-C in the middle of an accumulation saves, and resuming continues bit for bit") {
  const test::RunFolder whole, stopped;
  Training uninterrupted(fifty_steps(), whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  i64 batches = 0;
  for (const i64 after : {7, 13, 30}) {  // batches
    const InterruptRequests requests;
    Training part(fifty_steps(), stopped.path);
    Objective objective =
        classification(part.model, small_task().data, fifty_steps(), &small_task().tokenizer);
    const auto loss = objective.loss;
    objective.loss = [&](std::span<const i64> indices, const nn::Pass& pass) {
      if (++batches == after) std::raise(SIGINT);
      return loss(indices, pass);
    };
    Trainer trainer(objective, part.optimizer, fifty_steps(), stopped.path);
    if (after > 7) REQUIRE(trainer.resume());
    const TrainingResult result = trainer.run();
    CHECK(result.stop == Stop::interrupted);
    CHECK(trainer.accelerator().accumulate());  // in the middle
    batches = 0;
  }
  Training rest(fifty_steps(), stopped.path);
  REQUIRE(rest.trainer.resume());
  check_equal(rest.outcome(rest.trainer.run()), expected);
}

TEST_CASE(
    "a training whose time is up after every step is, resumed each time, that which never "
    "stopped") {
  TrainingOptions options = fifty_steps();  // its plateau heeds every evaluation
  options.steps = 12;
  const test::RunFolder whole, brief;
  Training uninterrupted(options, whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  options.minutes = 1e-9;
  for (i64 step = 1; step <= 12; ++step) {
    CAPTURE(step);
    Training part(options, brief.path);
    if (step > 1) REQUIRE(part.trainer.resume());
    const TrainingResult result = part.trainer.run();
    CHECK(std::ssize(result.steps) == step);
    CHECK(result.evaluations.back().step == step);  // what a run leaves has always been evaluated
    CHECK((result.stop == Stop::minutes) == (step < 12));
    if (step == 12) check_equal(part.outcome(result), expected);
  }
}

TEST_CASE("a terminal that goes asks for an orderly end, unless that is ignored") {
  for (const bool ignored : {false, true}) {
    CAPTURE(ignored);
    std::signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
    {
      const InterruptRequests requests;
      std::raise(SIGHUP);
      CHECK(InterruptRequests::received() != ignored);
    }
    CHECK((std::signal(SIGHUP, SIG_DFL) == SIG_IGN) == ignored);
  }
}

TEST_CASE("the minutes of a run that was resumed are those of the process, its time is all of it") {
  TrainingOptions options = fifty_steps();
  options.steps = 12;
  options.save_every = 5;
  const test::RunFolder first, second;
  Training(options, first.path).trainer.run();
  auto last = newest_checkpoint(first.path, nullptr);
  REQUIRE(last);
  last->state["time"] = {{"seconds", 1e6}, {"evaluation", 0.25}};  // as if that had taken days
  write_checkpoint(second.path, last->step, last->state, 0, 2, [&](const fs::path& to) {
    for (const std::string& name : names_in(last->folder))
      if (name.ends_with(".safetensors")) fs::copy(last->folder / name, to / name);
  });
  options.minutes = 1000;
  Training resumed(options, second.path);
  REQUIRE(resumed.trainer.resume());
  const TrainingResult result = resumed.trainer.run();
  CHECK(result.stop == Stop::finished);
  CHECK(result.seconds > 1e6);
  CHECK(result.time["seconds"].get<double>() > 1e6);
  CHECK(result.time["evaluation"].get<double>() == doctest::Approx(0.25));
  CHECK(result.time["loop"].get<double>() == doctest::Approx(0.75));  // what was not shared out
}

TEST_CASE("a run's peak is that of all its steps, and a plain Trainer leaves its run.json") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.save_every = 1;
  struct Stop {};
  Callback large;
  large.step = [](const StepRecord& record, i64) {
    Tensor::zeros({1 << 22});
    if (record.step == 3) throw Stop();
  };
  CHECK_THROWS_AS(run_training(small_task(), "adamw:lr=1e-3", options, folder.path, large), Stop);
  const std::string before = read_file(folder.path / "run.json");
  Training plain(options, folder.path, "adamw:lr=1e-3");
  REQUIRE(plain.trainer.resume());
  CHECK(read_file(folder.path / "run.json") == before);
  const Run run = run_training(small_task(), "adamw:lr=1e-3", options, {folder.path, true});
  CHECK(run.record["peak_bytes"].get<i64>() > 1 << 24);
}

TEST_CASE("an interrupted comparison goes on: what is finished is kept, what was begun continues") {
  ComparisonOptions options = two_runs();
  const std::string expected = uninterrupted(options);
  const test::RunFolder stopped;
  options.directory = stopped.path;
  i64 steps = 0, runs = 0;
  const ComparisonObserver observer{[&](const std::string&, u64) { ++runs; },
                                    {.step = [&](const StepRecord&, i64) {
                                      if (++steps == 70) std::raise(SIGINT);
                                    }}};
  {
    const InterruptRequests requests;
    CHECK_THROWS_WITH_AS(compare(small_task(), options, observer), doctest::Contains("interrupted"),
                         Error);
  }
  CHECK(runs == 2);
  CHECK(steps == 70);
  // What has ended can be reported, and what has not is named.
  const Json so_far = collect_runs({stopped.path});
  REQUIRE(so_far["runs"].size() == 1);
  CHECK(so_far["runs"][0]["optimizer"] == "adamw");
  CHECK(what_it_lacks(so_far) ==
        std::vector<std::string>{"sgd:lr=0.1:momentum=0.9 with seed 1 has not ended"});
  options.resume = true;
  const bool same = without_times(compare(small_task(), options, observer)) == expected;
  CHECK(same);
  CHECK(runs == 3);
  CHECK(steps == 100);
  for (const std::string& flaw : what_it_lacks(collect_runs({stopped.path})))
    CHECK(flaw.find("taken for the same class") != flaw.npos);  // nothing is unfinished
  // A torn record is none: that run alone is done once more.
  fs::path record;
  for (const fs::directory_entry& entry : fs::directory_iterator(stopped.path))
    if (entry.path().filename().string().starts_with("sgd")) record = entry.path() / "record.json";
  write_file(record, "{\"optim");
  const bool same_again = without_times(compare(small_task(), options, observer)) == expected;
  CHECK(same_again);
  CHECK(runs == 4);
  // Nor is one without scores, or of another run.
  Json other = parse_json(read_file(record), record.string());
  other["seed"] = 77;
  const Json empty{{"spec", other["spec"]}, {"seed", 1}, {"dev", Json::object()}, {"test", {}}};
  int done = 4;
  for (const Json& none : {Json::array(), empty, other}) {
    write_file(record, none.dump());
    compare(small_task(), options, observer);
    CHECK(runs == ++done);
  }
}

TEST_CASE("runs of a comparison whose time was up go on where they are given more, and else stay") {
  ComparisonOptions options = two_runs();
  const std::string expected = uninterrupted(options);
  const test::RunFolder brief;
  options.directory = brief.path;
  options.arguments = {{"minutes", "1e-9"}};
  i64 steps = 0;
  ComparisonObserver observer;
  observer.training.step = [&](const StepRecord&, i64) {
    if (++steps == 20) std::raise(SIGINT);
  };
  options.training.minutes = 1e-9;
  compare(small_task(), options, observer);
  CHECK(steps == 2);
  options.resume = true;
  options.arguments = nullptr;
  compare(small_task(), options, observer);
  CHECK(steps == 2);
  CHECK(read_json(brief.path / "run.json")["arguments"]["minutes"] == "1e-9");
  options.training.minutes = 2e-9;
  compare(small_task(), options, observer);
  CHECK(steps == 4);
  options.training.minutes = 0;
  {
    const InterruptRequests requests;
    CHECK_THROWS_AS(compare(small_task(), options, observer), Interrupted);
  }
  CHECK(steps == 20);
  const bool same = without_times(compare(small_task(), options, observer)) == expected;
  CHECK(same);
  CHECK(steps == 100);
}

TEST_CASE("a change of the optimizer is resumed before and after it") {
  const test::RunFolder whole;
  TrainingOptions options = fifty_steps();
  options.switches = {OptimizerSwitch::parse("12:adafactor:lr=0.03:relative_step=false")};
  TrainingOptions saving = options;
  saving.save_every = 1;
  saving.keep = 0;
  Training uninterrupted(saving, whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  for (const i64 step : {11, 12, 13, 20}) {
    CAPTURE(step);
    const test::RunFolder folder;
    copy_until(whole.path, step, folder.path);
    Training resumed(options, folder.path);
    REQUIRE(resumed.trainer.resume());
    check_equal(resumed.outcome(resumed.trainer.run()), expected);
  }
}

TEST_CASE(
    "a loop by hand gives the Trainer's bits and log, for any number of threads, and resumes "
    "them") {
  const int before = threads();
  const TrainingOptions options = fifty_steps();
  const test::RunFolder whole;
  Training uninterrupted(options, whole.path);
  std::vector<float> expected;  // of the last step: the trainer ends with the best weights
  uninterrupted.trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64 total) {
    if (record.step == total) expected = test::values_of(uninterrupted.model.parameters());
  }});
  uninterrupted.trainer.run();
  for (const int n : {1, 2, 3, 4, 8}) {
    CAPTURE(n);
    set_threads(n);
    const test::RunFolder folder;
    for (const i64 until : {18, 50}) {
      Training mine(options, {});
      const Batches batches = shuffled(small_task().data.train, options.batch, options.seed);
      Accelerator accelerator({.accumulate = options.accumulate,
                               .schedule = options.schedule,
                               .seed = options.seed,
                               .watch = options.watch});
      accelerator.prepare(mine.model.parameters(), mine.optimizer, batches,
                          total_steps(batches, options));
      if (until == 50) {
        const auto last = newest_checkpoint(folder.path, nullptr);
        REQUIRE(last);
        accelerator.resume(*last);
      }
      accelerator.log_to(folder.path);
      while (accelerator.steps() < until && accelerator.next()) {
        const Batch batch = make_batch(small_task().data.train, accelerator.indices());
        accelerator.backward(cross_entropy(mine.model(batch, accelerator.pass()), batch.labels),
                             static_cast<double>(batch.texts()), batch.tokens.size());
        if (accelerator.accumulate()) continue;
        accelerator.clip(options.clip_norm);
        accelerator.step();
        if (accelerator.epoch_ended())
          accelerator.observe(evaluate(mine.model, small_task().data.dev));
      }
      if (until == 18) {
        accelerator.checkpoint(folder.path);
        accelerator.log({{"test", {{"loss", 9}}}});  // not the one that is saved: cut off
      } else {
        CHECK(test::values_of(mine.model.parameters()) == expected);
      }
    }
    const bool same_log = metrics_of(folder.path) == metrics_of(whole.path);
    CHECK(same_log);
  }
  set_threads(before);
}

TEST_CASE("a line of the caller's is in the log and harms no report; one that would is refused") {
  const test::RunFolder folder;
  Training training(fifty_steps(), folder.path);
  training.trainer.run();
  for (const Json& line :
       {Json{{"run", "mine"}}, Json{{"step", 3}, {"mine", 1}}, Json{{"grad_norm", 1}},
        Json{{"train_loss", 0.5}}, Json{{"alarm", "high"}}, Json{{"switch", 1}}, Json(3),
        Json{{"test", 0.9}}, Json{{"test", {{"accuracy", 0.9}}}},
        Json{{"test", {{"loss", 0.5}}}, {"best_epoch", "the last"}}})
    CHECK_THROWS_WITH_AS(training.trainer.log(line), doctest::Contains("log: "), Error);
  training.trainer.log({{"mine", 1}});
  CHECK(metrics_of(folder.path).back() == "{\"mine\":1}");
  training.trainer.log({{"test", {{"loss", 0.5}}}, {"best_epoch", 7}, {"train_loss_of_mine", {}}});
  const Json run = collect_runs({folder.path})["runs"][0];
  CHECK(run["train_loss"].size() == 50);
  CHECK(run["test"]["loss"] == 0.5);
  CHECK(run["best_epoch"] == 7);
}

TEST_CASE(
    "where the line that says what is trained is lost, run.json tells it, and resuming mends the "
    "log") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.steps = 20;
  options.save_every = 9;
  run_training(small_task(), "adamw:lr=1e-3", options, folder.path);
  const Json before = collect_runs({folder.path});
  CHECK(before["damaged"].empty());
  std::string log = read_file(folder.path / "metrics.jsonl");
  REQUIRE(log.starts_with("{\"run\""));
  log[0] = '!';
  write_file(folder.path / "metrics.jsonl", log);
  const Json torn = collect_runs({folder.path});
  CHECK(torn["damaged"][0]["lines"] == 1);
  for (const char* key : {"spec", "seed", "test", "dev"})
    CHECK(torn["runs"][0][key] == before["runs"][0][key]);
  run_training(small_task(), "adamw:lr=1e-3", options, {folder.path, true});
  const Json mended = collect_runs({folder.path});
  CHECK(mended["damaged"].empty());
  CHECK(mended["runs"][0]["options"] == before["runs"][0]["options"]);
}

TEST_CASE(
    "runs that have not ended and differ in their seeds alone are one entry, also with a damaged "
    "log") {
  const test::RunFolder home;
  std::vector<fs::path> folders;
  for (const u64 seed : {u64{1}, u64{2}}) {
    TrainingOptions options = fifty_steps();
    options.seed = seed;
    folders.push_back(home.path / std::to_string(seed));
    const Callback stop{.step = [](const StepRecord& record, i64) {
      if (record.step == 20) std::raise(SIGINT);
    }};
    const InterruptRequests requests;
    run_training(small_task(), "adamw:lr=1e-3", options, folders.back(), stop);
  }
  const auto specs = [&] {
    std::set<std::string> all;
    const Json collected = collect_runs(folders);
    CHECK_FALSE(collected["training"].contains("note"));
    for (const Json& run : collected["runs"]) all.insert(run["spec"].get<std::string>());
    return all;
  };
  CHECK(specs() == std::set<std::string>{"adamw:lr=1e-3"});
  std::string log = read_file(folders[0] / "metrics.jsonl");
  log[log.find('\n', log.find("\"step\":5,")) + 1] = '!';  // step 6, or what is before it
  write_file(folders[0] / "metrics.jsonl", log);
  write_file(folders[1] / "run.json", "{");
  CHECK(specs() == std::set<std::string>{"adamw:lr=1e-3"});  // the checkpoint has kept the latter
}

TEST_CASE("a log alone can be reported: of a loop by hand, of a run that was cut off") {
  const test::RunFolder folder;
  Training training(fifty_steps(), folder.path);
  const TrainingResult result = training.trainer.run();
  std::ofstream(folder.path / "metrics.jsonl", std::ios::app) << "{\"step\": 51, \"ep";
  const Json all = collect_runs({folder.path});
  REQUIRE(all["runs"].size() == 1);
  const Json& run = all["runs"][0];
  CHECK(run["optimizer"] == "adamw8bit");
  CHECK(run["seed"] == 1);
  CHECK(run["train_loss"].size() == 50);
  CHECK(run["train_loss"][49] == result.steps[49].loss);
  CHECK(run["epochs"].size() == 10);
  CHECK(run["best_epoch"] == result.best_epoch());
  CHECK(run["dev"]["accuracy"] == result.dev().accuracy());
  CHECK(run["state_bytes"] == training.optimizer.state_bytes());
  CHECK(run.at("watched").at("steps").size() == 5);
  CHECK(all.at("training").at("accumulate") == 4);
  CHECK(comparison_table(all).find("adamw8bit") != std::string::npos);

  const test::RunFolder empty;
  fs::create_directories(empty.path);
  CHECK_THROWS_WITH_AS(collect_runs({empty.path}), doctest::Contains("neither comparison.json"),
                       Error);
  std::ofstream(empty.path / "metrics.jsonl") << "{\"note\": \"mine\"}\n";
  CHECK_THROWS_WITH_AS(collect_runs({empty.path}), doctest::Contains("no step yet"), Error);
  std::ofstream(empty.path / "metrics.jsonl") << "{\"run\": {}}\n";
  CHECK_THROWS_WITH_AS(collect_runs({empty.path}), doctest::Contains("damaged lines: 1"), Error);
}
