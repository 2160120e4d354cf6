#include "train/predictions.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "train/metrics.hpp"

namespace minima {
namespace {

/// In quotes where it holds what separates fields.
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

std::vector<double> probabilities(const float* logits, i64 labels) {
  const double largest = *std::max_element(logits, logits + labels);
  std::vector<double> result;
  double sum = 0;
  for (i64 k = 0; k < labels; ++k) {
    result.push_back(std::exp(static_cast<double>(logits[k]) - largest));
    sum += result.back();
  }
  for (double& each : result) each /= sum;
  return result;
}

std::string predictions_header(bool pairs) {
  return fmt::format("label,predicted,probability,text{}\n", pairs ? ",pair" : "");
}

std::string predictions_rows(const Tensor& logits, const std::vector<Example>& examples,
                             const std::vector<std::string>& label_names, bool pairs) {
  const i64 labels = logits.size(1);
  check(logits.size(0) == std::ssize(examples), "predictions: logits of {} texts for {} texts",
        logits.size(0), examples.size());
  const auto name = [&](i64 label) { return field(name_of(label, label_names)); };
  std::string rows;
  const float* row = logits.data<float>();
  for (const Example& example : examples) {
    const std::vector<double> p = probabilities(row, labels);
    const auto best = std::ranges::max_element(p);
    rows += fmt::format("{},{},{:.6g},{}{}\n", name(example.label), name(best - p.begin()), *best,
                        field(example.text), pairs ? "," + field(example.pair) : "");
    row += labels;
  }
  return rows;
}

}  // namespace minima
