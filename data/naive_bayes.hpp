/// Naive Bayes over bags of words, the yardstick beside a trained encoder: what counting words
/// alone achieves. Multinomial with add-one smoothing (Manning, Raghavan, Schütze 2008,
/// "Introduction to Information Retrieval", §13.2, figure 13.2). Words are those of
/// without_case_and_punctuation (repeated_texts.hpp), a pair's those of both its texts in one bag; a
/// word that no training text has is ignored.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/dataset.hpp"

namespace minima {

class NaiveBayes {
 public:
  /// Labels are 0 … classes − 1. Throws Error for others, and where there are no examples.
  NaiveBayes(const std::vector<Example>& examples, i64 classes);

  /// The class of its texts; its own label does not count.
  i64 predict(const Example& example) const;
  /// The share of `examples` that it labels right, 0 … 1.
  double accuracy(const std::vector<Example>& examples) const;

 private:
  std::vector<double> log_prior_;  // of each class
  // Of a word that a class has not had, in each: log 1/(its words + distinct words).
  std::vector<double> log_unseen_;
  // log (1 + how often) of a word in the classes that have had it: most have few of the words.
  std::unordered_map<std::string, std::vector<std::pair<i64, double>>> log_count_;
};

}  // namespace minima
