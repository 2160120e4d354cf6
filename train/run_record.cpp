#include "train/run_record.hpp"

#include <map>

#include "train/checkpoint.hpp"
#include "train/watch.hpp"

namespace minima {
namespace {

/// What was watched, by tensor: {"steps", "tensors": [{"name", "ratio", "step_size" (each of a number
/// per watched step), "update_clipped" (share)}]}.
Json describe_watched(std::span<const StepRecord> records) {
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

/// The evaluation that is best by `metric` (of equals, the lower loss); null where there is none.
const EvaluationRecord* best_of(std::span<const EvaluationRecord> evaluations,
                                const std::string& metric) {
  const EvaluationRecord* best = nullptr;
  const auto score = [&](const EvaluationRecord& record) {
    const Json dev = record.dev.to_json();
    const std::string name = metric == "f1" ? "macro_f1" : metric;
    const double value = dev.value(dev.contains(name) ? name : "loss", 0.0);
    return std::pair(dev.contains(name) && higher_is_better(metric) ? value : -value,
                     -record.dev.loss);
  };
  for (const EvaluationRecord& record : evaluations)
    if (best == nullptr || score(record) > score(*best)) best = &record;
  return best;
}

}  // namespace

Json describe_training(std::span<const StepRecord> steps,
                       std::span<const EvaluationRecord> evaluations) {
  std::vector<double> milliseconds, losses, norms, factors;
  Json clipped = Json::array(), epochs = Json::array();
  double tokens = 0, seconds = 0, clipped_steps = 0;
  for (const StepRecord& step : steps) {
    norms.push_back(rounded(step.grad_norm));
    factors.push_back(rounded(step.lr_factor));
    clipped.push_back(step.clipped ? 1 : 0);
    clipped_steps += step.clipped;
    milliseconds.push_back(step.milliseconds);
    losses.push_back(step.loss);
    tokens += static_cast<double>(step.tokens);
    seconds += step.milliseconds / 1000;
  }
  for (const EvaluationRecord& record : evaluations) epochs.push_back(to_json(record));
  return {{"step_ms", median(milliseconds)},
          {"tokens_per_second", tokens / seconds},
          {"train_loss", losses},
          {"grad_norm", norms},
          {"lr_factor", factors},
          {"clipped", std::move(clipped)},
          {"skipped", std::ranges::count(steps, true, &StepRecord::skipped)},
          {"clipped_share", clipped_steps / static_cast<double>(steps.size())},
          {"watched", describe_watched(steps)},
          {"epochs", std::move(epochs)}};
}

Json describe_log(const std::filesystem::path& folder) {
  const auto file = folder / "metrics.jsonl";
  // As a resumed training reads them: what is damaged is left out.
  const LoggedRecords records = read_metrics(file);
  check(!records.steps.empty(), "{}: has no step yet", file.string());
  Json begun = Json::object();
  try {
    begun = read_run(folder, nullptr);
  } catch (const Error&) {  // the log tells the rest
  }
  Json run = describe_training(records.steps, records.evaluations);
  run["alarms"] = run["switches"] = Json::array();
  for (const Json& line : records.others) {
    if (line.contains("run")) {
      check(line["run"].is_object(), "{}: 'run' is {}; it must be an object", file.string(),
            line["run"].dump());
      run.update(line["run"]);
    }
    if (line.contains("alarm")) run["alarms"].push_back(line["alarm"]);
    if (line.contains("switch")) run["switches"].push_back(line["switch"]);
    if (line.contains("test")) run.update(line);
  }
  Json training = begun.value("training", Json::object());
  for (const char* key : {"steps", "schedule", "warmup", "accumulate", "precision"})
    if (run.contains(key)) training[key] = run[key];
  if (const EvaluationRecord* best =
          best_of(records.evaluations, training.value("metric", "accuracy"))) {
    run["dev"] = best->dev.to_json();
    run["best_epoch"] = best->epoch;
    run["seconds"] = records.evaluations.back().seconds;
  }
  // A loop of one's own says no spec: it stands for itself.
  run["spec"] =
      begun.value("spec", fmt::format("{} ({})", run.value("optimizer", "?"), folder.string()));
  Json data = Json::object(), model = Json::object();
  if (begun.contains("task")) {
    data = {{"name", begun["task"].value("data", "")},
            {"origin", begun["task"].value("origin", "")}};
    model = {{"name", begun["task"].value("model", "")}, {"config", begun.value("config", Json())}};
  }
  return {{"data", std::move(data)},
          {"model", std::move(model)},
          {"training", std::move(training)},
          {"runs", Json::array({std::move(run)})},
          {"failed", Json::array()}};
}

}  // namespace minima
