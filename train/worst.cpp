#include "train/worst.hpp"

#include <cmath>

#include "core/files/json.hpp"
#include "core/text/utf8.hpp"
#include "train/metrics.hpp"

namespace minima {
namespace {

constexpr std::size_t kMostBytes = 400;

std::string shortened(const std::string& text) {
  if (text.size() <= kMostBytes) return text;
  return std::string(cut_to_bytes(text, kMostBytes)) + " …";
}

}  // namespace

std::vector<WrongText> worst_errors(const Tensor& logits, const TokenizedSplit& split,
                                    std::size_t most) {
  const i64 labels = logits.size(1);
  check(logits.size(0) == split.size(), "worst_errors: logits of {} texts for a split of {}",
        logits.size(0), split.size());
  std::vector<WrongText> wrong;
  for (std::size_t i = 0; i < split.labels.size(); ++i) {
    const float* row = logits.data<float>() + static_cast<i64>(i) * labels;
    const i64 predicted = std::max_element(row, row + labels) - row;
    if (predicted == split.labels[i]) continue;
    double sum = 0;  // of exp, beside the largest
    for (i64 k = 0; k < labels; ++k) sum += std::exp(static_cast<double>(row[k]) - row[predicted]);
    wrong.push_back({i, split.labels[i], predicted,
                     std::log(sum) + row[predicted] - static_cast<double>(row[split.labels[i]])});
  }
  std::ranges::stable_sort(wrong, std::greater(), &WrongText::loss);
  if (wrong.size() > most) wrong.resize(most);
  return wrong;
}

Json to_json(const std::vector<WrongText>& wrong, const std::vector<Example>& examples,
             const std::vector<std::string>& label_names) {
  Json list = Json::array();
  for (const WrongText& one : wrong) {
    const Example& example = examples.at(one.text);
    list.push_back({{"text", shortened(example.text)},
                    {"actual", name_of(one.actual, label_names)},
                    {"predicted", name_of(one.predicted, label_names)},
                    {"loss", one.loss}});
    if (!example.pair.empty()) list.back()["pair"] = shortened(example.pair);
  }
  return list;
}

}  // namespace minima
