#include "train/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "core/error.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

double ratio(i64 part, i64 whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string shortened(const std::string& name, std::size_t width) {
  if (columns_of(name) <= width) return name;
  std::string_view kept = cut_to_bytes(name, 4 * width);
  while (columns_of(kept) >= width) kept = cut_to_bytes(kept, kept.size() - 1);
  return std::string(kept) + "~";
}

}  // namespace

void ConfusionMatrix::add(i64 actual, i64 predicted, i64 times) {
  if (times == 0) return;
  for (const i64 label : {actual, predicted})
    check(label >= 0 && label < labels(), "confusion matrix: label {} is none of {}", label,
          labels());
  cells_[{actual, predicted}] += times;
  actual_[static_cast<std::size_t>(actual)] += times;
  predicted_[static_cast<std::size_t>(predicted)] += times;
}

i64 ConfusionMatrix::count(i64 actual, i64 predicted) const {
  const auto found = cells_.find({actual, predicted});
  return found == cells_.end() ? 0 : found->second;
}

i64 ConfusionMatrix::total() const {
  return std::accumulate(actual_.begin(), actual_.end(), i64{0});
}

double ConfusionMatrix::accuracy() const {
  i64 right = 0;
  for (i64 label = 0; label < labels(); ++label) right += count(label, label);
  return ratio(right, total());
}

double ConfusionMatrix::f1(i64 label) const {
  return ratio(2 * count(label, label), actual(label) + predicted(label));
}
double ConfusionMatrix::precision(i64 label) const {
  return ratio(count(label, label), predicted(label));
}
double ConfusionMatrix::recall(i64 label) const {
  return ratio(count(label, label), actual(label));
}

double ConfusionMatrix::macro_f1() const {
  double sum = 0;
  i64 seen = 0;
  for (i64 label = 0; label < labels(); ++label) {
    if (actual(label) + predicted(label) == 0) continue;
    sum += f1(label);
    ++seen;
  }
  return seen == 0 ? 0 : sum / static_cast<double>(seen);
}

double ConfusionMatrix::mcc() const {
  // With s texts, c of them right, tₖ of class k and pₖ predicted as k:
  //   mcc = (c s − Σ tₖ pₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²))
  double right = 0, both = 0, actual_squares = 0, predicted_squares = 0;
  const auto all = static_cast<double>(total());
  for (i64 label = 0; label < labels(); ++label) {
    const auto t = static_cast<double>(actual(label));
    const auto p = static_cast<double>(predicted(label));
    right += static_cast<double>(count(label, label));
    both += t * p;
    actual_squares += t * t;
    predicted_squares += p * p;
  }
  const double square = (all * all - predicted_squares) * (all * all - actual_squares);
  return square > 0 ? (right * all - both) / std::sqrt(square) : 0;
}

Json ConfusionMatrix::to_json() const {
  Json list = Json::array();
  if (labels() > kWhole) {
    for (const auto& [cell, count] : cells_) list.push_back({cell.first, cell.second, count});
    return {{"labels", labels()}, {"cells", std::move(list)}};
  }
  for (i64 actual = 0; actual < labels(); ++actual) {
    Json row = Json::array();
    for (i64 predicted = 0; predicted < labels(); ++predicted)
      row.push_back(count(actual, predicted));
    list.push_back(std::move(row));
  }
  return list;
}

ConfusionMatrix ConfusionMatrix::from_json(const Json& json) {
  constexpr i64 kMostRead = 100'000, kMostCounted = i64{1} << 40;  // whose sum is still a number
  const auto number = [](const Json& value, i64 most) {
    check(value.is_number_integer() && value >= 0 && value <= most,
          "evaluation: the confusion matrix has {}, which is no count or label of it",
          value.dump());
    return value.get<i64>();
  };
  const auto list = [](const Json& value, std::size_t size) -> const Json& {
    check(value.is_array() && value.size() == size,
          "evaluation: the confusion matrix is not a square of counts");
    return value;
  };
  if (json.is_object()) {
    check(json.contains("labels") && json.contains("cells") && json["cells"].is_array(),
          "evaluation: the confusion matrix has no labels or no cells");
    ConfusionMatrix result(number(json["labels"], kMostRead));
    for (const Json& cell : json["cells"]) {
      list(cell, 3);
      result.add(number(cell[0], result.labels() - 1), number(cell[1], result.labels() - 1),
                 number(cell[2], kMostCounted));
    }
    return result;
  }
  ConfusionMatrix result(number(list(json, json.size()).size(), kMostRead));
  for (i64 actual = 0; actual < result.labels(); ++actual) {
    const Json& row = list(json[static_cast<std::size_t>(actual)], json.size());
    for (i64 predicted = 0; predicted < result.labels(); ++predicted)
      result.add(actual, predicted, number(row[static_cast<std::size_t>(predicted)], kMostCounted));
  }
  return result;
}

void Evaluation::add(const Evaluation& further) {
  const auto texts = static_cast<double>(confusion.total());
  const auto more = static_cast<double>(further.confusion.total());
  loss = (texts * loss + more * further.loss) / (texts + more);
  for (const auto& [cell, count] : further.confusion.cells())
    confusion.add(cell.first, cell.second, count);
}

std::optional<double> Evaluation::positive_f1() const {
  if (confusion.labels() != 2) return {};
  return confusion.f1(1);
}

namespace {

/// The scores that follow from a confusion matrix, by their names as a metric and in JSON.
struct MatrixScore {
  const char *metric, *key;
  double (ConfusionMatrix::*of)() const;
};
constexpr MatrixScore kMatrixScores[] = {{"accuracy", "accuracy", &ConfusionMatrix::accuracy},
                                         {"f1", "macro_f1", &ConfusionMatrix::macro_f1},
                                         {"mcc", "mcc", &ConfusionMatrix::mcc}};

}  // namespace

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const MatrixScore& score : kMatrixScores) names.emplace_back(score.metric);
  names.push_back("loss");
  return names;
}

std::optional<double> Evaluation::find(const std::string& name) const {
  if (name == "loss") return loss;
  const auto* const known = std::ranges::find_if(kMatrixScores, [&](const MatrixScore& score) {
    return name == score.metric || name == score.key;
  });
  const bool of_matrix = known != std::end(kMatrixScores);
  const auto found = extra.find(of_matrix ? std::string(known->key) : name);
  if (found != extra.end()) return found->second;
  if (of_matrix && confusion.labels() > 0) return (confusion.*known->of)();
  return {};
}

double Evaluation::score(const std::string& name) const {
  if (const auto found = find(name)) return *found;
  std::vector<std::string> known = {"loss"};
  if (confusion.labels() > 0) known = metric_names();
  for (const auto& [other, value] : extra) known.push_back(other);
  fail("no score named '{}'; this task has {}; TrainingOptions::metric names one, or is empty",
       name, fmt::join(known, ", "));
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

Json Evaluation::scores() const {
  Json json = Json::object();
  if (confusion.labels() > 0)
    for (const auto& [metric, key, of] : kMatrixScores) json[key] = (confusion.*of)();
  if (const auto f1 = positive_f1()) json["positive_f1"] = *f1;
  for (const auto& [name, value] : extra) json[name] = value;
  json["loss"] = loss;
  return json;
}

Json Evaluation::to_json() const {
  Json json = scores();
  if (confusion.labels() > 0) json["confusion"] = confusion.to_json();
  return json;
}

Evaluation Evaluation::from_json(const Json& json) {
  check(json.is_object() && json.contains("loss"), "evaluation: it has no loss: {}", json.dump());
  Evaluation result{ConfusionMatrix(0), std::nan("")};
  for (const auto& [name, value] : json.items()) {
    if (name == "confusion") {
      result.confusion = ConfusionMatrix::from_json(value);
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
  const Json follow = Evaluation{result.confusion, 0}.scores();
  std::erase_if(result.extra, [&](const auto& score) { return follow.contains(score.first); });
  return result;
}

const std::string& name_of(i64 label, const std::vector<std::string>& label_names) {
  check(label >= 0 && label < std::ssize(label_names),
        "class {} has no name among the {} that are given", label, label_names.size());
  return label_names[static_cast<std::size_t>(label)];
}

Json scores_of_classes(const Evaluation& evaluation, const std::vector<std::string>& label_names) {
  const ConfusionMatrix& m = evaluation.confusion;
  Json scores = Json::array();
  for (i64 label = 0; label < m.labels(); ++label)
    scores.push_back({{"name", name_of(label, label_names)},
                      {"precision", m.precision(label)},
                      {"recall", m.recall(label)},
                      {"f1", m.f1(label)},
                      {"support", m.actual(label)}});
  return scores;
}

namespace {

/// In 16 columns. Where several would be alike their numbers tell them apart: "balance_not_up~7".
std::vector<std::string> short_class_names(const std::vector<std::string>& label_names) {
  constexpr std::size_t kWidth = 16;
  std::vector<std::string> names;
  std::map<std::string, i64> alike;
  for (const std::string& label : label_names) {
    names.push_back(shortened(shown(label, std::string::npos), kWidth));
    ++alike[names.back()];
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (alike[names[i]] > 1) {
      const std::string number = std::to_string(i + 1);
      names[i] = shortened(names[i], kWidth - number.size()) + number;
    }
  return names;
}

/// Which classes were taken for which others most often.
template <class Name>
std::string confusions(const ConfusionMatrix& m, const Name& name) {
  constexpr std::size_t kMost = 20;
  std::vector<std::pair<std::pair<i64, i64>, i64>> wrong;
  for (const auto& [cell, count] : m.cells())
    if (cell.first != cell.second) wrong.push_back({cell, count});
  std::ranges::stable_sort(wrong, std::greater{}, &decltype(wrong)::value_type::second);
  if (wrong.empty()) return "";
  std::string text;
  text += fmt::format("{:>6}  {:<16}  most often taken for\n", "texts", "class");
  for (const auto& [cell, count] : std::span(wrong).first(std::min(kMost, wrong.size())))
    text += fmt::format("{:>6}  {:<16}  {}\n", count, name(cell.first), name(cell.second));
  if (wrong.size() > kMost) text += fmt::format("and {} other confusions\n", wrong.size() - kMost);
  return text;
}

}  // namespace

std::string table(const Evaluation& evaluation, const std::vector<std::string>& label_names) {
  const ConfusionMatrix& m = evaluation.confusion;
  const std::vector<std::string> names = short_class_names(label_names);
  const auto name = [&](i64 label) { return name_of(label, names); };
  constexpr i64 kColumns = 20;  // that a terminal can show
  const auto too_many = [&](const char* what) {
    return fmt::format("{} classes are too many for {} here; --json has it\n", m.labels(), what);
  };
  if (m.labels() > ConfusionMatrix::kWhole)
    return too_many("a table of them, or of what was taken for what,") + confusions(m, name);
  std::string text = fmt::format("{:<16} {:>9} {:>7} {:>7} {:>6}\n", "class", "precision", "recall",
                                 "F1", "texts");
  for (i64 label = 0; label < m.labels(); ++label)
    text += fmt::format("{:<16} {:>9.3f} {:>7.3f} {:>7.3f} {:>6}\n", name(label),
                        m.precision(label), m.recall(label), m.f1(label), m.actual(label));
  text += "\n";
  if (m.labels() > kColumns)
    return text + too_many("a table of what was taken for what") + confusions(m, name);
  // Where their heads would not be distinct, classes are numbered.
  std::set<std::string> heads;
  for (i64 label = 0; label < m.labels(); ++label) heads.insert(shortened(name(label), 6));
  const bool numbered = std::ssize(heads) < m.labels();
  text += "actual \\ predicted";
  for (i64 label = 0; label < m.labels(); ++label)
    text +=
        fmt::format(" {:>6}", numbered ? fmt::format("{}", label + 1) : shortened(name(label), 6));
  for (i64 actual = 0; actual < m.labels(); ++actual) {
    text += numbered ? fmt::format("\n{:>2} {:<15}", actual + 1, shortened(name(actual), 15))
                     : fmt::format("\n{:<18}", name(actual));
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
