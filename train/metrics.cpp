#include "train/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/utf8.hpp"

namespace minima {
namespace {

double ratio(i64 part, i64 whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

i64 occurrences(const ConfusionMatrix& m, i64 label) {
  i64 sum = 0;
  for (i64 other = 0; other < m.labels(); ++other) sum += m.count(label, other);
  return sum;
}

i64 predictions(const ConfusionMatrix& m, i64 label) {
  i64 sum = 0;
  for (i64 other = 0; other < m.labels(); ++other) sum += m.count(other, label);
  return sum;
}

/// By bytes, so that columns stay in line.
std::string shortened(const std::string& name, std::size_t width) {
  if (name.size() <= width) return name;
  return std::string(cut_to_bytes(name, width - 1)) + "~";
}

}  // namespace

i64 ConfusionMatrix::total() const {
  i64 sum = 0;
  for (i64 label = 0; label < labels(); ++label) sum += occurrences(*this, label);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  i64 right = 0;
  for (i64 label = 0; label < labels(); ++label) right += count(label, label);
  return ratio(right, total());
}

double ConfusionMatrix::f1(i64 label) const {
  return ratio(2 * count(label, label), occurrences(*this, label) + predictions(*this, label));
}
double ConfusionMatrix::precision(i64 label) const {
  return ratio(count(label, label), predictions(*this, label));
}
double ConfusionMatrix::recall(i64 label) const {
  return ratio(count(label, label), occurrences(*this, label));
}

double ConfusionMatrix::macro_f1() const {
  double sum = 0;
  i64 seen = 0;
  for (i64 label = 0; label < labels(); ++label) {
    if (occurrences(*this, label) + predictions(*this, label) == 0) continue;
    sum += f1(label);
    ++seen;
  }
  return seen == 0 ? 0 : sum / static_cast<double>(seen);
}

double ConfusionMatrix::mcc() const {
  // With s texts, c of them right, tₖ of class k and pₖ predicted as k:
  //   mcc = (c s − Σ tₖ pₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²))
  double right = 0, both = 0, actual = 0, predicted = 0;
  const auto all = static_cast<double>(total());
  for (i64 label = 0; label < labels(); ++label) {
    const auto t = static_cast<double>(occurrences(*this, label));
    const auto p = static_cast<double>(predictions(*this, label));
    right += static_cast<double>(count(label, label));
    both += t * p;
    actual += t * t;
    predicted += p * p;
  }
  const double square = (all * all - predicted) * (all * all - actual);
  return square > 0 ? (right * all - both) / std::sqrt(square) : 0;
}

void Evaluation::add(const Evaluation& further) {
  const auto texts = static_cast<double>(confusion.total());
  const auto more = static_cast<double>(further.confusion.total());
  loss = (texts * loss + more * further.loss) / (texts + more);
  for (i64 actual = 0; actual < confusion.labels(); ++actual)
    for (i64 predicted = 0; predicted < confusion.labels(); ++predicted)
      confusion.add(actual, predicted, further.confusion.count(actual, predicted));
}

std::optional<double> Evaluation::positive_f1() const {
  if (confusion.labels() != 2) return {};
  return confusion.f1(1);
}

std::optional<double> Evaluation::find(const std::string& name) const {
  if (name == "loss") return loss;
  if (name == "f1") return find("macro_f1");
  if (const auto found = extra.find(name); found != extra.end()) return found->second;
  if (confusion.labels() == 0) return {};
  if (name == "accuracy") return confusion.accuracy();
  if (name == "macro_f1") return confusion.macro_f1();
  if (name == "mcc") return confusion.mcc();
  return {};
}

double Evaluation::score(const std::string& name) const {
  if (const auto found = find(name)) return *found;
  std::vector<std::string> known = {"loss"};
  if (confusion.labels() > 0) known = {"loss", "accuracy", "f1", "mcc"};
  for (const auto& [other, value] : extra) known.push_back(other);
  fail("no score named '{}'; this task has {}", name, fmt::join(known, ", "));
}

bool higher_is_better(const std::string& score) { return score != "loss" && score != "perplexity"; }

bool tells(const Evaluation& evaluation, const std::string& score) {
  return std::isfinite(evaluation.loss) &&
         (score.empty() || std::isfinite(evaluation.score(score)));
}

bool is_better(const Evaluation& later, const Evaluation& earlier, const std::string& score) {
  if (!tells(later, score) || !tells(earlier, score)) return tells(later, score);
  if (score.empty()) return true;
  const double x = later.score(score), y = earlier.score(score);
  if (x != y) return higher_is_better(score) == (x > y);
  return later.loss < earlier.loss;
}

Json Evaluation::to_json() const {
  Json json = Json::object();
  if (confusion.labels() > 0)
    json = {{"accuracy", accuracy()}, {"macro_f1", macro_f1()}, {"mcc", confusion.mcc()}};
  if (const auto f1 = positive_f1()) json["positive_f1"] = *f1;
  for (const auto& [name, value] : extra) json[name] = value;
  json["loss"] = loss;
  if (confusion.labels() == 0) return json;
  Json& rows = json["confusion"] = Json::array();
  for (i64 actual = 0; actual < confusion.labels(); ++actual) {
    Json row = Json::array();
    for (i64 predicted = 0; predicted < confusion.labels(); ++predicted)
      row.push_back(confusion.count(actual, predicted));
    rows.push_back(std::move(row));
  }
  return json;
}

Evaluation Evaluation::from_json(const Json& json) {
  check(json.is_object() && json.contains("loss"), "evaluation: it has no loss: {}", json.dump());
  Evaluation result{ConfusionMatrix(0), std::nan("")};
  for (const auto& [name, value] : json.items()) {
    if (name == "confusion") {
      constexpr i64 kMost = i64{1} << 40;  // of which a matrix's sum is still a number
      const auto is_count = [](const Json& count) {
        return count.is_number_integer() && count >= 0 && count <= kMost;
      };
      const auto square = [&](const Json& row) {
        return row.is_array() && row.size() == value.size() && std::ranges::all_of(row, is_count);
      };
      check(value.is_array() && value.size() <= 100'000 && std::ranges::all_of(value, square),
            "evaluation: the confusion matrix is not a square of counts");
      result.confusion = ConfusionMatrix(std::ssize(value));
      for (std::size_t i = 0; i < value.size(); ++i)
        for (std::size_t j = 0; j < value.size(); ++j)
          result.confusion.add(static_cast<i64>(i), static_cast<i64>(j), value[i][j].get<i64>());
      continue;
    }
    check(value.is_number() || value.is_null(), "evaluation: {} is {}, not a number", name,
          value.dump());
    const double number = value.is_null() ? std::nan("") : value.get<double>();
    if (name == "loss")
      result.loss = number;
    else
      result.extra[name] = number;
  }
  if (result.confusion.labels() > 0)  // these follow from it
    for (const char* name : {"accuracy", "macro_f1", "mcc", "positive_f1"})
      result.extra.erase(name);
  return result;
}

Json scores_of_classes(const Evaluation& evaluation, const std::vector<std::string>& label_names) {
  const ConfusionMatrix& m = evaluation.confusion;
  Json scores = Json::array();
  for (i64 label = 0; label < m.labels(); ++label)
    scores.push_back({{"name", label_names[static_cast<std::size_t>(label)]},
                      {"precision", m.precision(label)},
                      {"recall", m.recall(label)},
                      {"f1", m.f1(label)},
                      {"support", occurrences(m, label)}});
  return scores;
}

std::string table(const Evaluation& evaluation, const std::vector<std::string>& label_names) {
  const ConfusionMatrix& m = evaluation.confusion;
  const auto name = [&](i64 label) {
    return shortened(shown(label_names[static_cast<std::size_t>(label)], std::string::npos), 16);
  };
  std::string text = fmt::format("{:<16} {:>9} {:>7} {:>7} {:>6}\n", "class", "precision", "recall",
                                 "F1", "texts");
  for (i64 label = 0; label < m.labels(); ++label)
    text += fmt::format("{:<16} {:>9.3f} {:>7.3f} {:>7.3f} {:>6}\n", name(label),
                        m.precision(label), m.recall(label), m.f1(label), occurrences(m, label));
  text += "\nactual \\ predicted";
  for (i64 label = 0; label < m.labels(); ++label)
    text += fmt::format(" {:>6}", shortened(name(label), 6));
  for (i64 actual = 0; actual < m.labels(); ++actual) {
    text += fmt::format("\n{:<18}", name(actual));
    for (i64 predicted = 0; predicted < m.labels(); ++predicted)
      text += fmt::format(" {:>6}", m.count(actual, predicted));
  }
  return text + "\n";
}

double mean(const std::vector<double>& values) {
  return values.empty() ? 0
                        : std::accumulate(values.begin(), values.end(), 0.0) /
                              static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double center = mean(values);
  double sum = 0;
  for (double value : values) sum += (value - center) * (value - center);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace minima
