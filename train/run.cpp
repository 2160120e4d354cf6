#include "train/run.hpp"

#include <cerrno>
#include <cmath>
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

/// Six digits: enough to look at, and a third of the file.
double rounded(double x) {
  return std::isfinite(x) ? std::strtod(fmt::format("{:.6g}", x).c_str(), nullptr) : x;
}

Json to_json(const StepRecord& step) {
  Json json = {
      {"step", step.step},           {"epoch", step.epoch},         {"loss", step.loss},
      {"lr_factor", step.lr_factor}, {"grad_norm", step.grad_norm}, {"clipped", step.clipped},
      {"ms", step.milliseconds},     {"texts", step.texts},         {"tokens", step.tokens}};
  for (const TensorReport& tensor : step.tensors)
    json["tensors"][tensor.name] = {
        {"ratio", rounded(update_ratio(tensor))},       {"step_size", rounded(tensor.step_size)},
        {"gradient_rms", rounded(tensor.gradient_rms)}, {"weight_rms", rounded(tensor.weight_rms)},
        {"update_rms", rounded(tensor.update_rms)},     {"update_clipped", tensor.update_clipped}};
  return json;
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

/// What was watched, by tensor: {"steps", "tensors": [{"name", "ratio", "step_size" (each of a number
/// per watched step), "update_clipped" (share)}]}.
Json describe_watched(const std::vector<StepRecord>& records) {
  Json steps = Json::array(), tensors = Json::array();
  std::map<std::string, std::size_t> places;
  for (const StepRecord& record : records) {
    if (record.tensors.empty()) continue;
    for (const TensorReport& tensor : record.tensors) {
      const auto [place, added] = places.emplace(tensor.name, tensors.size());
      if (added)
        tensors.push_back({{"name", tensor.name},
                           {"ratio", Json::array()},
                           {"step_size", Json::array()},
                           {"update_clipped", 0.0}});
      Json& entry = tensors[place->second];
      // Null where a tensor had no part in a step.
      for (const char* key : {"ratio", "step_size"})
        while (entry[key].size() < steps.size()) entry[key].push_back(nullptr);
      entry["ratio"].push_back(rounded(update_ratio(tensor)));
      entry["step_size"].push_back(rounded(tensor.step_size));
      if (tensor.update_clipped)
        entry["update_clipped"] = entry["update_clipped"].get<double>() + 1;
    }
    steps.push_back(record.step);
  }
  for (Json& tensor : tensors)
    tensor["update_clipped"] =
        tensor["update_clipped"].get<double>() / static_cast<double>(steps.size());
  return {{"steps", std::move(steps)}, {"tensors", std::move(tensors)}};
}

Json describe(const TrainingResult& result) {
  std::vector<double> milliseconds, losses, norms, factors;
  Json alarms = Json::array(), switches = Json::array(), clipped = Json::array();
  for (const Alarm& alarm : result.alarms) alarms.push_back(alarm.to_json());
  for (const SwitchRecord& record : result.switches) switches.push_back(record.to_json());
  double tokens = 0, seconds = 0, clipped_steps = 0;
  for (const StepRecord& step : result.steps) {
    norms.push_back(rounded(step.grad_norm));
    factors.push_back(rounded(step.lr_factor));
    clipped.push_back(step.clipped ? 1 : 0);
    clipped_steps += step.clipped;
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
          {"grad_norm", norms},
          {"lr_factor", factors},
          {"clipped", std::move(clipped)},
          {"clipped_share", clipped_steps / static_cast<double>(result.steps.size())},
          {"watched", describe_watched(result.steps)},
          {"alarms", std::move(alarms)},
          {"switches", std::move(switches)},
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
  if (name == "adafactor-torch") return spec + ":lr=0.03";
  if (name == "lion") return spec + ":lr=0.0002";
  if (name == "came") return spec + ":lr=0.0001";
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
  by_step(options.switches, total_steps(task.data, options));  // refuses a wrong one
  Optimizer optimizer = make_optimizer(spec, parameter_groups(*model, spec, options));

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
    Json groups = Json::array(), switches = Json::array();
    for (const GroupPattern& group : options.groups)
      groups.push_back({{"pattern", group.pattern}, {"options", group.options}});
    for (const auto& [step, next] : by_step(options.switches, total_steps(task.data, options)))
      switches.push_back({{"after_step", step}, {"spec", next}});
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
                  {"clip_value", options.clip_value},
                  {"accumulate", options.accumulate},
                  {"watch", options.watch},
                  {"groups", std::move(groups)},
                  {"switches", std::move(switches)},
                  {"seed", options.seed},
                  {"threads", threads()}}}};
    write_file(directory / "run.json", run.dump(2) + "\n");
    metrics.emplace(directory / "metrics.jsonl");
  }

  const TrainingObserver recording{.step =
                                       [&](const StepRecord& step, i64 total) {
                                         if (metrics) metrics->write(to_json(step));
                                         if (observer.step) observer.step(step, total);
                                       },
                                   .epoch =
                                       [&](const EpochRecord& epoch) {
                                         if (metrics) metrics->write(to_json(epoch));
                                         if (observer.epoch) observer.epoch(epoch);
                                       },
                                   .alarm =
                                       [&](const Alarm& alarm) {
                                         if (metrics) metrics->write({{"alarm", alarm.to_json()}});
                                         if (observer.alarm) observer.alarm(alarm);
                                       },
                                   .checkpoint =
                                       [&](const Optimizer& before, i64 step) {
                                         if (!directory.empty()) {
                                           const auto folder = directory / "checkpoints" /
                                                               fmt::format("step-{}", step);
                                           save_model(folder, task.tokenizer.vocabulary(), *model);
                                           before.save(folder / "optimizer.safetensors");
                                         }
                                         if (observer.checkpoint) observer.checkpoint(before, step);
                                       },
                                   .switched =
                                       [&](const SwitchRecord& record) {
                                         if (metrics)
                                           metrics->write({{"switch", record.to_json()}});
                                         if (observer.switched) observer.switched(record);
                                       }};
  TrainingResult result = train(*model, optimizer, task.data, options, recording);
  if (metrics) metrics->write({{"best_epoch", result.best_epoch}, {"test", result.test.to_json()}});

  record["final_optimizer"] = optimizer.name();
  record["peak_bytes"] = memory_stats().peak - live_before;
  record.update(describe(result));
  if (!directory.empty()) {
    save_model(directory / "final", task.tokenizer.vocabulary(), *model);
    optimizer.save(directory / "final" / "optimizer.safetensors");
  }
  return {std::move(model), std::move(result), std::move(record)};
}

}  // namespace minima
