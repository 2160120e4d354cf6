/// What becomes of a run whose checkpoints, log or run.json are damaged, gone, or of another training.
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/files/safetensors.hpp"
#include "tests/data/files.hpp"
#include "tests/train/fifty_steps.hpp"
#include "train/run_record.hpp"

using namespace minima;
using namespace test;
namespace fs = std::filesystem;

TEST_CASE("a damaged checkpoint is passed over and said so, and the newest whole one is used") {
  const test::RunFolder whole;
  TrainingOptions options = fifty_steps();
  options.steps = 12;
  TrainingOptions saving = options;
  saving.save_every = 3;
  saving.keep = 3;
  Training uninterrupted(saving, whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  const auto checkpoints = whole.path / "checkpoints";
  CHECK(fs::exists(checkpoints / "step-3"));
  CHECK(fs::exists(checkpoints / "step-9"));

  for (const std::string file : {"model.safetensors", "optimizer.safetensors", "state.json",
                                 "best.safetensors", "vocab.txt", "checksums.xxh128"}) {
    for (const bool truncate : {true, false}) {
      CAPTURE(file);
      CAPTURE(truncate);
      const test::RunFolder folder;
      fs::copy(whole.path, folder.path, fs::copy_options::recursive);
      // As a kill leaves it that came while an older one was removed.
      fs::copy(whole.path / "checkpoints/step-3", folder.path / "checkpoints/step-1.minima-part");
      // And one that another process is just writing.
      fs::create_directory(folder.path / "checkpoints/step-12.minima-part");
      // And one that was damaged in an earlier part of the run.
      write_folder(folder.path / "checkpoints/step-9.damaged", [](const fs::path&) {});
      const FolderLock writing(folder.path / "checkpoints/step-12.minima-part");
      const auto path = folder.path / "checkpoints" / "step-9" / file;
      std::string bytes = read_file(path);
      if (truncate)
        bytes.resize(bytes.size() / 2);
      else
        bytes[bytes.size() / 2] ^= 1;
      write_file(path, bytes);
      std::vector<std::string> said;
      Training resumed(options, folder.path);
      resumed.trainer.callbacks.push_back(
          {.say = [&](const std::string& text) { said.push_back(text); }});
      REQUIRE(resumed.trainer.resume());
      CHECK(resumed.trainer.accelerator().steps() == 6);
      REQUIRE(said.size() == 2);
      CHECK(said[0].find("step-9 is damaged") != std::string::npos);
      CHECK(said[1].find("step-6") != std::string::npos);
      CHECK_FALSE(fs::exists(folder.path / "checkpoints/step-9"));
      CHECK(fs::is_empty(folder.path / "checkpoints/step-9.damaged"));
      CHECK(fs::exists(folder.path / "checkpoints/step-9.damaged-2/model.safetensors"));
      CHECK_FALSE(fs::exists(folder.path / "checkpoints/step-1.minima-part"));
      CHECK(fs::exists(folder.path / "checkpoints/step-12.minima-part"));
      check_equal(resumed.outcome(resumed.trainer.run()), expected);
    }
  }
}

TEST_CASE("a flipped bit spoils one checkpoint, though all have the same best weights") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.steps = 12;
  options.evaluate_every = 1;
  options.save_every = 3;
  const std::string spec = "sgd:lr=0";  // no evaluation is better than the first
  Training(options, folder.path, spec).trainer.run();
  {  // in place: whoever else has the same file on the disk has the damage too
    std::fstream file(folder.path / "checkpoints/step-9/best.safetensors",
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(1000);
    const int byte = file.get();
    file.seekp(1000);
    file.put(static_cast<char>(byte ^ 1));
  }
  Training resumed(options, folder.path, spec);
  REQUIRE(resumed.trainer.resume());
  CHECK(resumed.trainer.accelerator().steps() == 6);
}

TEST_CASE("a checkpoint whose checksums do not list its state is damaged") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.steps = 4;
  options.save_every = 3;
  Training(options, folder.path).trainer.run();
  const auto step = folder.path / "checkpoints/step-3", sums = step / "checksums.xxh128";
  REQUIRE(damage(step).empty());
  std::string lines = read_file(sums);
  const auto name = lines.find("  state.json\n");
  REQUIRE(name != std::string::npos);
  write_file(sums, lines.erase(name - 32, 32 + std::strlen("  state.json\n")));
  CHECK(damage(step) == "checksums.xxh128 does not list state.json");
}

TEST_CASE("a damaged checkpoint takes the place of no whole one among those that are kept") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.steps = 12;
  options.save_every = 3;
  Training(options, folder.path).trainer.run();
  const auto file = folder.path / "checkpoints/step-9/optimizer.safetensors";
  write_file(file, read_file(file).substr(1));
  options.save_every = 4;
  Training resumed(options, folder.path);
  i64 saved = 0;
  resumed.trainer.callbacks.push_back({.step =
                                           [&](const StepRecord& record, i64) {
                                             if (record.step == 10) resumed.trainer.save_now();
                                           },
                                       .checkpoint = [&](const fs::path&) { ++saved; }});
  REQUIRE(resumed.trainer.resume());
  resumed.trainer.run();
  CHECK(saved == 2);
  CHECK(names_in(folder.path / "checkpoints") ==
        std::set<std::string>{"step-10", "step-8", "step-9.damaged"});
}

TEST_CASE(
    "steps that a log has lost leave a gap in the curves, and the others stand where they were") {
  TrainingRecords records;
  const auto told = [&](const std::vector<i64>& steps) {
    records.steps.clear();
    for (const i64 step : steps) {
      StepRecord& record = records.steps.emplace_back();
      record.step = step;
      record.loss = 1 / static_cast<double>(step);
      record.clipped = true;
    }
    return Json::parse(describe_training(records).dump());
  };
  const Json run = told({2, 3, 7});
  for (const char* key : {"train_loss", "grad_norm", "lr_factor", "clipped"}) {
    CAPTURE(key);
    REQUIRE(run[key].size() == 7);
    for (const std::size_t lost : {0, 3, 4, 5}) CHECK(run[key][lost].is_null());
    for (const std::size_t there : {1, 2, 6}) CHECK(run[key][there].is_number());
  }
  CHECK(run["train_loss"][6] == 1.0 / 7);
  CHECK(run["clipped_share"] == 1);
  // A number that cannot be, of a damaged line, makes no gap.
  CHECK(told({1, 2, i64{1} << 40})["train_loss"].size() == 3);
  CHECK(told({1, 5, 3})["train_loss"].size() == 3);
}

TEST_CASE("training goes on where its log is damaged or gone, and says what the report will lack") {
  const test::RunFolder whole;
  TrainingOptions options = fifty_steps();
  options.save_every = 9;
  options.steps = 20;
  Training uninterrupted(options, whole.path);
  const Outcome expected = uninterrupted.outcome(uninterrupted.trainer.run());
  const std::string log = read_file(whole.path / "metrics.jsonl");
  const auto line_of = [&](i64 step) { return log.find(fmt::format("\"step\":{},", step)); };
  // What is left of the log, and how many of the 18 steps before the checkpoint are lost with the rest.
  std::string flipped = log;
  flipped[log.rfind('\n', line_of(7)) + 1] = '!';
  const std::pair<std::optional<std::string>, i64> cases[] = {
      {log, 0}, {std::nullopt, 18}, {"", 18}, {log.substr(0, line_of(12)), 7}, {flipped, 1}};
  for (const auto& [left, lost] : cases) {
    CAPTURE(lost);
    const test::RunFolder folder;
    fs::copy(whole.path, folder.path, fs::copy_options::recursive);
    fs::remove(folder.path / "metrics.jsonl");
    if (left) write_file(folder.path / "metrics.jsonl", *left);
    std::string said;
    Training resumed(options, folder.path);
    resumed.trainer.callbacks.push_back(
        {.say = [&](const std::string& text) { said += text + "\n"; }});
    REQUIRE(resumed.trainer.resume());
    CHECK(said.find(fmt::format("with them {} of 18 steps", lost)) ==
          (lost == 0 ? std::string::npos : said.find("with them")));
    CHECK(std::ranges::count(said, '\n') == (lost == 0 ? 1 : 2));
    const TrainingResult result = resumed.trainer.run();
    const Outcome outcome = resumed.outcome(result);
    CHECK(outcome.weights == expected.weights);
    CHECK(outcome.state == expected.state);
    CHECK(std::ssize(result.steps) == 20 - lost);
    REQUIRE(result.best);
    CHECK(expected.best.ends_with(result.best_dev.to_json().dump()));
    CHECK(result.evaluations[*result.best].dev.loss == result.best_dev.loss);
    CHECK(result.best_epoch() > 0);
    // The log is whole again: what was left, and what came after the checkpoint.
    const std::vector<std::string> lines = metrics_of(folder.path);
    CHECK(std::ranges::equal(std::vector(lines.end() - 3, lines.end()),
                             std::vector(expected.metrics.end() - 3, expected.metrics.end())));
    CHECK(lines[0].find("\"run\"") != std::string::npos);
    const LoggedRecords records = read_metrics(folder.path / "metrics.jsonl");
    CHECK(std::ssize(records.steps) == 20 - lost);
    CHECK(records.lines == read_file(folder.path / "metrics.jsonl"));
  }
}

TEST_CASE(
    "a log that has lost a line has the others once, however often training goes on after it") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.save_every = 9;
  options.steps = 20;
  Training(options, folder.path).trainer.run();
  std::string log = read_file(folder.path / "metrics.jsonl");
  log[log.find("\n{\"step\":10,") + 1] = '!';  // a long one, with watched tensors
  write_file(folder.path / "metrics.jsonl", log);
  for (const bool killed : {true, false}) {
    Training resumed(options, folder.path);
    resumed.trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
      if (killed && record.step == 19) fail_at_run_time("as if it were killed");
    }});
    REQUIRE(resumed.trainer.resume());
    CHECK(resumed.trainer.accelerator().steps() == 18);
    if (killed)
      CHECK_THROWS_AS(resumed.trainer.run(), Error);
    else
      CHECK(resumed.trainer.run().steps.size() == 19);
  }
  CHECK(read_metrics(folder.path / "metrics.jsonl").steps.size() == 19);
}

TEST_CASE("a run's configuration is in its checkpoints, and its run.json is made whole from them") {
  for (const char* broken : {"", "{\"arguments\": {\"ste", "[1]"}) {
    const test::RunFolder folder;
    TrainingOptions options = fifty_steps();
    options.steps = 6;
    options.save_every = 4;
    const Json arguments = {{"steps", 6}};
    run_training(small_task(), "adamw:lr=1e-3", options, {folder.path, false, arguments});
    const Json before = read_json(folder.path / "run.json");
    const std::string weights = read_file(folder.path / "final/model.safetensors");
    CHECK(read_run(folder.path, nullptr) == before);
    write_file(folder.path / "run.json", broken);
    std::string said;
    CHECK(read_run(folder.path, [&](const std::string& text) { said = text; })["arguments"] ==
          arguments);
    CHECK(said.find("run.json") != std::string::npos);
    CHECK(said.find("step-4") != std::string::npos);
    run_training(small_task(), "adamw:lr=1e-3", options, {folder.path, true, arguments});
    CHECK(read_file(folder.path / "final/model.safetensors") == weights);
    Json after = read_json(folder.path / "run.json");
    for (const char* key : {"task", "config", "optimizer", "training", "arguments", "stop"})
      CHECK(after[key] == before[key]);
    write_file(folder.path / "run.json", broken);
    for (const auto& checkpoint : fs::directory_iterator(folder.path / "checkpoints"))
      write_file(checkpoint.path() / "state.json", "{}");
    CHECK_THROWS_WITH_AS(read_run(folder.path, nullptr),
                         doctest::Contains("step-4 is damaged: state.json is not what was written"),
                         Error);
    fs::remove_all(folder.path / "checkpoints");
    write_file(folder.path / "run.json", broken);
    CHECK_THROWS_WITH_AS(read_run(folder.path, nullptr), doctest::Contains("run.json"), Error);
  }
}

TEST_CASE("a log is begun in no folder that has one, by the Trainer as by a loop by hand") {
  const test::RunFolder folder;
  Training first(fifty_steps(), folder.path);
  first.trainer.callbacks.push_back({.step = [&](const StepRecord& record, i64) {
    if (record.step == 3) fail_at_run_time("as if it were killed");
  }});
  CHECK_THROWS_AS(first.trainer.run(), Error);
  const std::string log = read_file(folder.path / "metrics.jsonl");
  Training again(fifty_steps(), folder.path);
  CHECK_THROWS_WITH_AS(again.trainer.run(), doctest::Contains("the log of an earlier run"), Error);
  Training mine(fifty_steps(), {});
  Accelerator accelerator({});
  accelerator.prepare(mine.model.parameters(), mine.optimizer,
                      shuffled(small_task().data.train, BatchSize::of_texts(5), 1), 50);
  CHECK_THROWS_WITH_AS(accelerator.log_to(folder.path),
                       doctest::Contains("the log of an earlier run"), Error);
  CHECK(read_file(folder.path / "metrics.jsonl") == log);
  // Without a checkpoint, resuming begins anew.
  Training resumed(fifty_steps(), folder.path);
  CHECK_FALSE(resumed.trainer.resume());
  CHECK(resumed.trainer.run().steps.size() == 50);
  const LoggedRecords records = read_metrics(folder.path / "metrics.jsonl");
  CHECK(records.steps.size() == 50);
  CHECK(records.lines == read_file(folder.path / "metrics.jsonl"));
}

TEST_CASE("a checkpoint that does not read back as what is in memory is none") {
  const test::RunFolder folder;
  Training training(fifty_steps(), {});
  Accelerator accelerator({.accumulate = 4});
  accelerator.prepare(training.model.parameters(), training.optimizer,
                      shuffled(small_task().data.train, BatchSize::of_texts(5), 1), 50);
  // As of a disk that lies: one bit is another.
  const auto fill = [&](const fs::path& to) {
    std::vector<NamedTensor> values;
    for (const Parameter* parameter : training.model.parameters())
      values.push_back({parameter->name, parameter->value.clone()});
    values.back().tensor.raw()[1] ^= std::byte{1};
    save_safetensors(to / "model.safetensors", values);
  };
  CHECK_THROWS_WITH_AS(accelerator.checkpoint(folder.path, {.fill = fill}),
                       doctest::Contains("reads back otherwise"), Error);
  CHECK_FALSE(newest_checkpoint(folder.path, nullptr));
  CHECK_NOTHROW(accelerator.checkpoint(folder.path));
  CHECK(newest_checkpoint(folder.path, nullptr));
}

TEST_CASE("what does not fit a checkpoint is refused by name") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.steps = 4;
  options.save_every = 2;
  Training(options, folder.path).trainer.run();
  const auto error_of = [&](const TrainingOptions& other, const std::string& spec) {
    return test::error_of([&] { Training(other, folder.path, spec).trainer.resume(); });
  };
  const std::string spec = "adamw8bit:lr=1e-2:min_8bit_size=64";
  CHECK(error_of(options, spec).empty());
  TrainingOptions other = options;
  other.steps = 5;
  CHECK(error_of(other, spec).find("steps is 5 here, 4 in the checkpoint") != std::string::npos);
  other = options;
  other.clip_norm = 2;
  CHECK(error_of(other, spec).find("clip_norm") != std::string::npos);
  CHECK(error_of(options, "adamw").find("adamw8bit") != std::string::npos);
  // Other texts to test on, which a report would take for the run's.
  Training training(options, {}, spec);
  const auto fingerprints_of = [&](const TrainingData& data) {
    return classification(training.model, data, options).fingerprints;
  };
  TrainingData tested = small_task().data;
  const auto before = fingerprints_of(tested);
  CHECK(before == fingerprints_of(small_task().data));
  tested.test = tested.dev;
  auto changed = fingerprints_of(tested);
  CHECK(changed.at("test") == before.at("dev"));
  changed["test"] = before.at("test");
  CHECK(changed == before);
  // A new run would mix its checkpoints with those that are there.
  Training again(options, folder.path);
  CHECK_THROWS_WITH_AS(again.trainer.run(), doctest::Contains("--resume"), Error);
}

TEST_CASE("a run that comes to its end once more replaces its model whole") {
  const test::RunFolder folder;
  TrainingOptions options = fifty_steps();
  options.epochs = 1;
  options.save_every = 3;
  const fs::path final_model = folder.path / "final";
  run_training(small_task(), "adamw:lr=1e-3", options, folder.path);
  write_file(final_model / "of the first end", "");
  run_training(small_task(), "adamw:lr=1e-3", options, {folder.path, true});
  CHECK(fs::exists(final_model / "optimizer.safetensors"));
  CHECK_FALSE(fs::exists(final_model / "of the first end"));
}
