#include "train/metrics_log.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "core/files/file.hpp"

namespace minima {

double rounded(double x) {
  const std::string digits = fmt::format("{:.6g}", x);
  std::from_chars(digits.data(), digits.data() + digits.size(), x);  // in every locale
  return x;
}

TensorReport rounded(TensorReport tensor) {
  for (double* value :
       {&tensor.gradient_rms, &tensor.weight_rms, &tensor.update_rms, &tensor.step_size})
    *value = rounded(*value);
  return tensor;
}

void MetricsLog::write(const StepRecord& step) {
  Json json = {
      {"step", step.step},           {"epoch", step.epoch},         {"loss", step.loss},
      {"lr_factor", step.lr_factor}, {"grad_norm", step.grad_norm}, {"clipped", step.clipped},
      {"ms", step.milliseconds},     {"texts", step.texts},         {"tokens", step.tokens}};
  if (step.skipped) json["skipped"] = true;
  if (step.scale != 1) json["scale"] = step.scale;
  for (const TensorReport& whole : step.tensors) {
    const TensorReport tensor = rounded(whole);
    json["tensors"][tensor.name] = {
        {"ratio", rounded(update_ratio(tensor))}, {"step_size", tensor.step_size},
        {"gradient_rms", tensor.gradient_rms},    {"weight_rms", tensor.weight_rms},
        {"update_rms", tensor.update_rms},        {"update_clipped", tensor.update_clipped}};
  }
  write(json);
}

void MetricsLog::write(const EvaluationRecord& evaluation) { write(to_json(evaluation)); }

Json to_json(const EvaluationRecord& evaluation) {
  return {{"epoch", evaluation.epoch},
          {"step", evaluation.step},
          {"train_loss", evaluation.train_loss},
          {"dev", evaluation.dev.scores()},
          {"seconds", evaluation.seconds}};
}

namespace {

// What a line holds; Error or Json::exception where it is none of that kind.

StepRecord step_of(const Json& line) {
  StepRecord step{count_at(line, "step"),       count_at(line, "epoch"),
                  number_at(line, "loss"),      line.at("lr_factor").get<double>(),
                  number_at(line, "grad_norm"), line.at("clipped").get<bool>(),
                  line.at("ms").get<double>(),  count_at(line, "texts"),
                  count_at(line, "tokens"),     {}};
  step.skipped = line.contains("skipped");
  if (line.contains("scale")) step.scale = number_at(line, "scale");
  if (line.contains("tensors"))
    for (const auto& [name, tensor] : line["tensors"].items())
      step.tensors.push_back({name, number_at(tensor, "gradient_rms"),
                              number_at(tensor, "weight_rms"), number_at(tensor, "update_rms"),
                              number_at(tensor, "step_size"),
                              tensor.at("update_clipped").get<bool>()});
  return step;
}

EvaluationRecord evaluation_of(const Json& line) {
  return {count_at(line, "epoch"), count_at(line, "step"), number_at(line, "train_loss"),
          Evaluation::from_json(line.at("dev")), line.at("seconds").get<double>()};
}

Json run_of(const Json& run) {
  for (const char* text : {"optimizer", "schedule"})
    check(run.at(text).is_string(), "'{}' is no text", text);
  for (const char* count : {"state_elements", "state_bytes", "steps", "accumulate"})
    count_at(run, count);
  check(run.at("options").is_object(), "'options' is no object");
  check(run.at("seed").is_number_unsigned(), "'seed' is no seed");
  check(run.at("warmup").is_number(), "'warmup' is no number");
  return run;
}

void read_test(const Json& line, LoggedRecords& records) {
  records.test = Evaluation::from_json(line.at("test"));
  if (line.contains("best_epoch")) records.best_epoch = count_at(line, "best_epoch");
}

/// Whether it came after the first `steps` steps, and is left out.
bool read_failure(const Json& failed, i64 steps, LoggedRecords& records) {
  const bool later = count_at(failed, "step") >= steps;
  if (!later) records.failed = failed.at("error").get<std::string>();
  return later;
}

void read_line(const std::string& line, i64 steps, LoggedRecords& records) {
  const Json json = parse_json(line, "metrics.jsonl");
  check(json.is_object(), "metrics.jsonl: {} is no object", json.dump());
  bool later = false;
  const auto add = [&](auto& list, auto&& record) {
    later = record.step > steps;
    if (!later) list.push_back(std::move(record));
  };
  if (json.contains("grad_norm"))
    add(records.steps, step_of(json));
  else if (json.contains("train_loss"))
    add(records.evaluations, evaluation_of(json));
  else if (json.contains("alarm"))
    add(records.alarms, Alarm::from_json(json["alarm"]));
  else if (json.contains("switch"))
    records.switches.push_back(SwitchRecord::from_json(json["switch"]));
  else if (json.contains("run"))
    records.run = run_of(json["run"]);
  else if (json.contains("failed"))
    later = read_failure(json["failed"], steps, records);
  else if (json.contains("test"))
    read_test(json, records);
  if (!later) records.lines += line + "\n";
}

}  // namespace

LoggedRecords read_metrics(const std::filesystem::path& path, u64 bytes, i64 steps) {
  LoggedRecords records;
  if (!is_there(path)) return records;
  const InputFile opened(path);  // refuses what is no file, or cannot be read
  std::ifstream file(path, std::ios::binary);
  u64 at = 0;  // line by line, for a log may be longer than what is read at once
  for (std::string line; std::getline(file, line) && !file.eof();) try {
      at += line.size() + 1;
      if (at > bytes) break;
      read_line(line, steps, records);
    } catch (const Error&) {
      ++records.damaged;
    } catch (const Json::exception&) {
      ++records.damaged;
    }
  if (file.bad()) fail_at_run_time("{}: cannot be read: {}", path.string(), std::strerror(errno));
  return records;
}

void check_callers_line(const Json& line) {
  check(line.is_object(), "log: {} is no object, of values by name", line.dump());
  for (const char* own : {"run", "step", "grad_norm", "train_loss", "alarm", "switch", "failed"})
    check(!line.contains(own), "log: '{}' is a key of the log's own lines; choose another name",
          own);
  if (!line.contains("test")) return;
  try {
    LoggedRecords told;
    read_test(line, told);
  } catch (const Error& error) {
    fail("log: the test is no evaluation (see Evaluation::to_json): {}", error.what());
  }
}

}  // namespace minima
