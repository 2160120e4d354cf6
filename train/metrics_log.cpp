#include "train/metrics_log.hpp"

#include <cmath>
#include <sstream>

#include "train/watch.hpp"

namespace minima {

double rounded(double x) {
  return std::isfinite(x) ? std::strtod(fmt::format("{:.6g}", x).c_str(), nullptr) : x;
}

void MetricsLog::write(const StepRecord& step) {
  Json json = {
      {"step", step.step},           {"epoch", step.epoch},         {"loss", step.loss},
      {"lr_factor", step.lr_factor}, {"grad_norm", step.grad_norm}, {"clipped", step.clipped},
      {"ms", step.milliseconds},     {"texts", step.texts},         {"tokens", step.tokens}};
  if (step.skipped) json["skipped"] = true;
  if (step.scale != 1) json["scale"] = step.scale;
  for (const TensorReport& tensor : step.tensors)
    json["tensors"][tensor.name] = {
        {"ratio", rounded(update_ratio(tensor))},       {"step_size", rounded(tensor.step_size)},
        {"gradient_rms", rounded(tensor.gradient_rms)}, {"weight_rms", rounded(tensor.weight_rms)},
        {"update_rms", rounded(tensor.update_rms)},     {"update_clipped", tensor.update_clipped}};
  write(json);
}

void MetricsLog::write(const EvaluationRecord& evaluation) { write(to_json(evaluation)); }

Json to_json(const EvaluationRecord& evaluation) {
  Json dev = evaluation.dev.to_json();
  dev.erase("confusion");
  return {{"epoch", evaluation.epoch},
          {"step", evaluation.step},
          {"train_loss", evaluation.train_loss},
          {"dev", std::move(dev)},
          {"seconds", evaluation.seconds}};
}

namespace {

/// Adds what a line holds. Throws Error or Json::exception for one that MetricsLog has not written.
void read_line(const std::string& line, LoggedRecords& records) {
  const Json json = parse_json(line, "metrics.jsonl");
  check(json.is_object(), "metrics.jsonl: {} is no object", json.dump());
  const auto value = [](const Json& of, const char* key) {
    return of.at(key).is_null() ? std::nan("") : of.at(key).get<double>();
  };
  if (json.contains("grad_norm")) {
    StepRecord step{json.at("step").get<i64>(),
                    json.at("epoch").get<i64>(),
                    value(json, "loss"),
                    value(json, "lr_factor"),
                    value(json, "grad_norm"),
                    json.at("clipped").get<bool>(),
                    value(json, "ms"),
                    json.at("texts").get<i64>(),
                    json.at("tokens").get<i64>(),
                    {}};
    step.skipped = json.contains("skipped");
    if (json.contains("scale")) step.scale = value(json, "scale");
    if (json.contains("tensors"))
      for (const auto& [name, tensor] : json["tensors"].items())
        step.tensors.push_back({name, value(tensor, "gradient_rms"), value(tensor, "weight_rms"),
                                value(tensor, "update_rms"), value(tensor, "step_size"),
                                tensor.at("update_clipped").get<bool>()});
    records.steps.push_back(std::move(step));
  } else if (json.contains("train_loss")) {
    records.evaluations.push_back({json.at("epoch").get<i64>(), json.at("step").get<i64>(),
                                   value(json, "train_loss"), Evaluation::from_json(json.at("dev")),
                                   value(json, "seconds")});
  } else {
    records.others.push_back(json);
  }
  records.lines += line + "\n";
}

}  // namespace

LoggedRecords read_metrics(const std::filesystem::path& path, u64 bytes) {
  LoggedRecords records;
  if (!std::filesystem::exists(path)) return records;
  const std::string text = read_file(path).substr(0, bytes);
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));  // npos + 1 is 0
  for (std::string line; std::getline(lines, line);) try {
      read_line(line, records);
    } catch (const Error&) {  // whoever asked for so many bytes tells how many there are
    } catch (const Json::exception&) {
    }
  return records;
}

}  // namespace minima
