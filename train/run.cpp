#include "train/run.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/cpu/threads.hpp"
#include "core/file.hpp"
#include "optim/options.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

/// A file of one JSON document a line, flushed line by line, so that a run can be watched and loses
/// nothing when it is cut off.
class JsonLines {
 public:
  explicit JsonLines(const std::filesystem::path& path) : path_(path), file_(path) {
    check_state();
  }
  void write(const Json& line) {
    file_ << line.dump() << std::endl;
    check_state();
  }

 private:
  void check_state() {
    if (!file_) fail_at_run_time("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  }
  std::filesystem::path path_;
  std::ofstream file_;
};

Json to_json(const StepRecord& step) {
  return {{"step", step.step},           {"epoch", step.epoch},         {"loss", step.loss},
          {"lr_factor", step.lr_factor}, {"grad_norm", step.grad_norm}, {"ms", step.milliseconds},
          {"texts", step.texts},         {"tokens", step.tokens}};
}

/// An epoch without its confusion matrix.
Json to_json(const EpochRecord& epoch) {
  Json dev = epoch.dev.to_json();
  dev.erase("confusion");
  return {{"epoch", epoch.epoch},
          {"step", epoch.step},
          {"train_loss", epoch.train_loss},
          {"dev", std::move(dev)},
          {"seconds", epoch.seconds}};
}

i64 allocated_bytes(const Optimizer& optimizer) {
  i64 bytes = 0;
  for (const NamedTensor& slot : optimizer.tensors()) bytes += slot.tensor.bytes();
  return bytes;
}

Json describe(const TrainingResult& result) {
  std::vector<double> milliseconds, losses;
  double tokens = 0, seconds = 0;
  for (const StepRecord& step : result.steps) {
    milliseconds.push_back(step.milliseconds);
    losses.push_back(step.loss);
    tokens += static_cast<double>(step.tokens);
    seconds += step.milliseconds / 1000;
  }
  Json epochs = Json::array();
  for (const EpochRecord& epoch : result.epochs) epochs.push_back(to_json(epoch));
  return {{"step_ms", median(milliseconds)},
          {"tokens_per_second", tokens / seconds},
          {"seconds", result.seconds},
          {"best_epoch", result.best_epoch},
          {"dev", result.dev.to_json()},
          {"test", result.test.to_json()},
          {"train_loss", losses},
          {"epochs", std::move(epochs)}};
}

}  // namespace

std::string with_defaults(const std::string& spec) {
  const auto [name, options] = parse_spec(spec);
  const auto given = [&, &options = options](const char* key) {
    return std::ranges::any_of(options, [&](const auto& option) { return option.first == key; });
  };
  if (given("lr") || given("relative_step")) return spec;
  if (name == "sgd") return spec + (given("momentum") ? ":lr=0.1" : ":lr=0.1:momentum=0.9");
  if (name == "adafactor") return spec + ":lr=0.03:relative_step=false";
  if (name == "lion") return spec + ":lr=0.0002";
  return spec + ":lr=0.001";
}

i64 default_epochs(i64 training_texts) {
  return std::clamp<i64>((25000 + training_texts / 2) / std::max<i64>(training_texts, 1), 3, 20);
}

std::string to_string(const BatchSize& batch) {
  return batch.texts > 0 ? fmt::format("{} texts", batch.texts)
                         : fmt::format("{} tokens", batch.tokens);
}

Run run_training(const Task& task, const std::string& spec, const TrainingOptions& options,
                 const std::filesystem::path& directory, const TrainingObserver& observer) {
  reset_peak_memory();
  const i64 live_before = memory_stats().live;
  auto model = std::make_unique<nn::DistilBertClassifier>(task.config);
  model->initialize(options.seed);
  Optimizer optimizer = make_optimizer(spec, decay_groups(model->parameters()));

  Json record = {{"optimizer", optimizer.name()},
                 {"spec", spec},
                 {"options", optimizer.options()},
                 {"seed", options.seed},
                 {"state_elements", optimizer.state_elements()},
                 {"scales", optimizer.scales()},
                 {"state_bytes", allocated_bytes(optimizer)},
                 {"state_bytes_predicted", optimizer.state_bytes()}};

  std::optional<JsonLines> metrics;
  if (!directory.empty()) {
    std::error_code refused;
    std::filesystem::create_directories(directory, refused);
    if (refused)
      fail_at_run_time("{}: cannot be created: {}", directory.string(), refused.message());
    Json run = {{"task",
                 {{"data", task.dataset.name},
                  {"origin", task.dataset.origin},
                  {"model", task.model_name}}},
                {"config", task.config.to_json()},
                {"optimizer", record["options"]},
                {"training",
                 {{"epochs", options.epochs},
                  {"batch", to_string(options.batch)},
                  {"schedule", options.schedule},
                  {"warmup", options.warmup},
                  {"clip_norm", options.clip_norm},
                  {"seed", options.seed},
                  {"threads", threads()}}}};
    write_file(directory / "run.json", run.dump(2) + "\n");
    metrics.emplace(directory / "metrics.jsonl");
  }

  const TrainingObserver watch{[&](const StepRecord& step, i64 total) {
                                 if (metrics) metrics->write(to_json(step));
                                 if (observer.step) observer.step(step, total);
                               },
                               [&](const EpochRecord& epoch) {
                                 if (metrics) metrics->write(to_json(epoch));
                                 if (observer.epoch) observer.epoch(epoch);
                               }};
  TrainingResult result = train(*model, optimizer, task.data, options, watch);
  if (metrics) metrics->write({{"best_epoch", result.best_epoch}, {"test", result.test.to_json()}});

  record["peak_bytes"] = memory_stats().peak - live_before;
  record.update(describe(result));
  if (!directory.empty()) save_model(directory / "final", task.tokenizer.vocabulary(), *model);
  return {std::move(model), std::move(result), std::move(record)};
}

}  // namespace minima
