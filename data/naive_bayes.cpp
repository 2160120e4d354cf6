#include "data/naive_bayes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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
    : log_prior_(static_cast<std::size_t>(classes)) {
  check(!examples.empty(), "naive Bayes: there are no examples to learn from");
  const std::size_t n = log_prior_.size();
  std::vector<double> texts(n), words(n);
  for (const Example& example : examples) {
    ++texts[example.label];
    for_each_word(example, [&](const std::string& word) {
      ++words[example.label];
      ++log_likelihood_.try_emplace(word, n).first->second[example.label];
    });
  }
  // A class without examples has the prior log 0 = −∞ and is never chosen.
  for (std::size_t c = 0; c < n; ++c)
    log_prior_[c] = std::log(texts[c] / static_cast<double>(examples.size()));
  const double distinct = static_cast<double>(log_likelihood_.size());
  for (auto& [word, values] : log_likelihood_)
    for (std::size_t c = 0; c < n; ++c)
      values[c] = std::log((values[c] + 1) / (words[c] + distinct));
}

i64 NaiveBayes::predict(const Example& example) const {
  std::vector<double> score = log_prior_;
  for_each_word(example, [&](const std::string& word) {
    const auto found = log_likelihood_.find(word);
    if (found == log_likelihood_.end()) return;
    for (std::size_t c = 0; c < score.size(); ++c) score[c] += found->second[c];
  });
  return std::ranges::max_element(score) - score.begin();
}

double NaiveBayes::accuracy(const std::vector<Example>& examples) const {
  const auto right = std::ranges::count_if(
      examples, [&](const Example& example) { return predict(example) == example.label; });
  return static_cast<double>(right) / static_cast<double>(examples.size());
}

}  // namespace minima
