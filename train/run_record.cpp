#include "train/run_record.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "train/checkpoint.hpp"
#include "train/report/parts.hpp"

namespace minima {
namespace {

/// What was watched, by tensor: {"steps", "tensors": [{"name", "ratio", "step_size" (each of a number
/// per watched step), "update_clipped" (share)}]}.
Json describe_watched(std::span<const StepRecord> records) {
  Json steps = Json::array(), tensors = Json::array();
  std::map<std::string, std::size_t> places;
  for (const StepRecord& record : records) {
    if (record.tensors.empty()) continue;
    for (const TensorReport& whole : record.tensors) {
      const TensorReport tensor = rounded(whole);
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
      entry["step_size"].push_back(tensor.step_size);
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

/// The evaluation that is best by `metric`, or by the loss where none has that; null where there is none.
const EvaluationRecord* best_of(std::span<const EvaluationRecord> evaluations, std::string metric) {
  const auto has = [&](const EvaluationRecord& record) {
    return metric.empty() || record.dev.find(metric).has_value();
  };
  if (std::ranges::none_of(evaluations, has)) metric = "loss";
  const EvaluationRecord* best = nullptr;
  for (const EvaluationRecord& record : evaluations)
    if (has(record) &&
        (best ? is_better(record.dev, best->dev, metric) : tells(record.dev, metric)))
      best = &record;
  return best;
}

/// What run.json, or a checkpoint, says of a run, as far as it can be read.
struct Begun {
  std::optional<std::string> spec;
  std::string metric = "accuracy";
  Json training = Json::object(), data = Json::object(), model = Json::object();
  Json machine, measured = Json::object();
  Json stop;  ///< why it ended; null where it has not
};

Begun read_begun(const std::filesystem::path& folder) {
  Begun begun;
  try {
    const Json json = read_run(folder, nullptr);
    if (json.contains("training") && json["training"].is_object())
      begun.training = json["training"];
    if (const auto found = begun.training.find("metric");
        found != begun.training.end() && found->is_string())
      begun.metric = *found;
    if (json.contains("spec")) begun.spec = json["spec"].get<std::string>();
    begun.stop = json.value("stop", Json());
    begun.machine = json.value("machine", Json());
    for (const char* key : {"peak_bytes", "others_cores", "time"})
      if (json.contains(key)) begun.measured[key] = json[key];
    if (json.contains("task")) {
      const Json& task = json["task"];
      begun.data = {{"name", task.value("data", "")}, {"origin", task.value("origin", "")}};
      begun.model = {{"name", task.value("model", "")}, {"config", json.value("config", Json())}};
      if (json.contains("parameters")) begun.model["parameters"] = json["parameters"];
    }
  } catch (const Error&) {  // the log tells the rest
  } catch (const Json::exception&) {
  }
  return begun;
}

/// What a comparison has written of one of its runs that ended, which is all there is to know; else empty.
Json read_record(const std::filesystem::path& folder) {
  try {
    const auto file = folder / "record.json";
    Json record = is_there(file) ? read_json(file) : Json::object();
    return record.is_object() ? record : Json::object();
  } catch (const Error&) {  // the log tells the most of it
    return Json::object();
  }
}

/// How many places the curves by step have. Where lines of a log are lost there are more than steps, and each step stands in
/// the place of its number. A number beyond what a log may reach is not believed.
std::size_t places_of(const std::vector<StepRecord>& steps) {
  constexpr i64 kMost = 1 << 20;
  const bool ascend = std::ranges::adjacent_find(steps, std::ranges::greater_equal(),
                                                 &StepRecord::step) == steps.end();
  if (steps.empty() || !ascend || steps.front().step < 1 || steps.back().step > kMost)
    return steps.size();
  return static_cast<std::size_t>(steps.back().step);
}

}  // namespace

Json describe_training(const TrainingRecords& records) {
  const std::size_t places = places_of(records.steps);
  const bool by_number = places > records.steps.size();
  std::vector<double> milliseconds, losses(places, NAN), norms = losses, factors = losses;
  Json clipped(places, Json()), epochs = Json::array(), alarms = Json::array(),
                                switches = Json::array();
  double tokens = 0, seconds = 0, clipped_steps = 0;
  for (std::size_t i = 0; i < records.steps.size(); ++i) {
    const StepRecord& step = records.steps[i];
    const std::size_t place = by_number ? static_cast<std::size_t>(step.step - 1) : i;
    norms[place] = rounded(step.grad_norm);
    factors[place] = rounded(step.lr_factor);
    clipped[place] = step.clipped ? 1 : 0;
    clipped_steps += step.clipped;
    milliseconds.push_back(step.milliseconds);
    losses[place] = step.loss;
    tokens += static_cast<double>(step.tokens);
    seconds += step.milliseconds / 1000;
  }
  for (const EvaluationRecord& record : records.evaluations) epochs.push_back(to_json(record));
  for (const Alarm& alarm : records.alarms) alarms.push_back(alarm.to_json());
  for (const SwitchRecord& record : records.switches) switches.push_back(record.to_json());
  const auto skipped = std::ranges::find(records.steps, true, &StepRecord::skipped);
  const Json first_skipped = skipped == records.steps.end() ? Json() : Json(skipped->step);
  return {{"step_ms", milliseconds.empty() ? Json() : Json(median(milliseconds))},
          {"tokens_per_second", tokens > 0 ? Json(tokens / seconds) : Json()},
          {"train_loss", losses},
          {"grad_norm", norms},
          {"lr_factor", factors},
          {"clipped", std::move(clipped)},
          {"skipped", std::ranges::count(records.steps, true, &StepRecord::skipped)},
          {"first_skipped", first_skipped},
          {"clipped_share", clipped_steps / static_cast<double>(records.steps.size())},
          {"watched", describe_watched(records.steps)},
          {"epochs", std::move(epochs)},
          {"alarms", std::move(alarms)},
          {"switches", std::move(switches)}};
}

Json describe_log(const std::filesystem::path& folder) {
  const std::string file = (folder / "metrics.jsonl").string();
  const LoggedRecords records = read_metrics(file);
  check(!records.steps.empty() || records.failed, "{}: has no step {}", file,
        records.damaged == 0 ? "yet"
                             : fmt::format("that can be read; damaged lines: {}", records.damaged));
  Begun begun = read_begun(folder);
  Json run = records.run, &training = begun.training;
  run.update(begun.measured);
  run.update(describe_training(records));
  if (const double given = report::number(training, "/steps"); std::isfinite(given))
    training["by_steps"] = given > 0;
  for (const char* key : {"steps", "schedule", "warmup", "accumulate", "precision"})
    if (run.contains(key)) training[key] = run[key];
  if (!run.contains("seed")) run["seed"] = training.value("seed", Json());
  if (const EvaluationRecord* best = best_of(records.evaluations, begun.metric)) {
    run["dev"] = best->dev.to_json();
    run["best_epoch"] = best->epoch;
    run["seconds"] = records.evaluations.back().seconds;
  }
  if (records.test) run["test"] = records.test->to_json();
  if (records.best_epoch) run["best_epoch"] = *records.best_epoch;
  const Json record = read_record(folder);
  run["spec"] =
      begun.spec.value_or(fmt::format("{} ({})", run.value("optimizer", "?"), folder.string()));
  run["stop"] = begun.stop;
  // A loop of one's own says no spec: it stands for itself.
  if (!begun.spec && record.empty()) run.update({{"own_loop", true}, {"label", folder.string()}});
  run.update(record);
  Json unfinished = Json::array();
  if (begun.stop.is_null() && !records.failed &&
      static_cast<double>(records.steps.back().step) < report::number(training, "/steps"))
    unfinished.push_back({{"spec", run["spec"]}, {"seed", run["seed"]}});
  Json damaged = Json::array();
  if (records.damaged > 0) damaged.push_back({{"file", file}, {"lines", records.damaged}});
  Json all = {{"data", std::move(begun.data)},   {"model", std::move(begun.model)},
              {"training", std::move(training)}, {"runs", Json::array()},
              {"failed", Json::array()},         {"unfinished", std::move(unfinished)},
              {"damaged", std::move(damaged)}};
  if (!begun.machine.is_null()) all["machine"] = std::move(begun.machine);
  if (records.failed) run["error"] = *records.failed;
  all[records.failed ? "failed" : "runs"].push_back(std::move(run));
  return all;
}

}  // namespace minima
