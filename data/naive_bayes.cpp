#include "data/naive_bayes.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "core/error.hpp"
#include "data/repeated_texts.hpp"

namespace minima {
namespace {

template <class F>
void for_each_word(const Example& example, const F& f) {
  std::istringstream words(without_case_and_punctuation(example.text, example.pair));
  for (std::string word; words >> word;) f(word);
}

}  // namespace

NaiveBayes::NaiveBayes(const std::vector<Example>& examples, i64 classes)
    : log_prior_(static_cast<std::size_t>(classes)), log_unseen_(log_prior_.size()) {
  check(!examples.empty(), "naive Bayes: there are no examples to learn from");
  std::vector<double> texts(log_prior_.size()), words(log_prior_.size());
  std::unordered_map<std::string, std::map<i64, double>> counts_of;
  for (const Example& example : examples) {
    check(example.label >= 0 && example.label < classes,
          "naive Bayes: an example has the label {} of {} classes", example.label, classes);
    ++texts[example.label];
    for_each_word(example, [&](const std::string& word) {
      ++words[example.label];
      ++counts_of[word][example.label];
    });
  }
  // A class without examples has the prior log 0 = −∞ and is never chosen.
  const double distinct = static_cast<double>(counts_of.size());
  for (std::size_t c = 0; c < log_prior_.size(); ++c) {
    log_prior_[c] = std::log(texts[c] / static_cast<double>(examples.size()));
    log_unseen_[c] = -std::log(words[c] + distinct);
  }
  for (const auto& [word, counts] : counts_of)
    for (const auto& [c, count] : counts) log_count_[word].emplace_back(c, std::log1p(count));
}

i64 NaiveBayes::predict(const Example& example) const {
  std::vector<double> score = log_prior_;
  double known = 0;
  for_each_word(example, [&](const std::string& word) {
    const auto found = log_count_.find(word);
    if (found == log_count_.end()) return;
    ++known;
    for (const auto& [c, log_count] : found->second) score[c] += log_count;
  });
  if (known > 0)  // where no text has a word at all, log_unseen_ is infinite
    for (std::size_t c = 0; c < score.size(); ++c) score[c] += known * log_unseen_[c];
  return std::ranges::max_element(score) - score.begin();
}

double NaiveBayes::accuracy(const std::vector<Example>& examples) const {
  const auto right = std::ranges::count_if(
      examples, [&](const Example& example) { return predict(example) == example.label; });
  return static_cast<double>(right) / static_cast<double>(examples.size());
}

}  // namespace minima
