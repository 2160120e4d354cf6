/// How good predictions are: accuracy, F1, and the confusion matrix that both follow from.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/files/json.hpp"
#include "core/types.hpp"

namespace minima {

/// How many texts of each label were predicted as which. Takes memory for those that occur alone, not for
/// labels².
class ConfusionMatrix {
 public:
  using Cells = std::map<std::pair<i64, i64>, i64>;  // by (actual, predicted)

  /// Up to so many labels it is written whole; of more, that is too much to read.
  static constexpr i64 kWhole = 100;

  explicit ConfusionMatrix(i64 labels)
      : actual_(static_cast<std::size_t>(labels)), predicted_(static_cast<std::size_t>(labels)) {}

  /// Throws Error for a label that is not among its own.
  void add(i64 actual, i64 predicted, i64 times = 1);
  i64 labels() const { return std::ssize(actual_); }
  i64 count(i64 actual, i64 predicted) const;
  i64 total() const;
  /// Texts of a label, and texts for which it was predicted.
  i64 actual(i64 label) const { return actual_[static_cast<std::size_t>(label)]; }
  i64 predicted(i64 label) const { return predicted_[static_cast<std::size_t>(label)]; }
  /// The counts that are not 0, row by row.
  const Cells& cells() const { return cells_; }

  double accuracy() const;
  /// 2 TP / (2 TP + FP + FN); 0 for a class that neither occurs nor is predicted.
  double f1(i64 label) const;
  double precision(i64 label) const;  ///< TP / (TP + FP); 0 where nothing was predicted
  double recall(i64 label) const;     ///< TP / (TP + FN); 0 where the class does not occur
  /// The mean of f1 over the classes that occur or were predicted (as scikit-learn's macro
  /// average).
  double macro_f1() const;
  /// Matthews' correlation coefficient for any number of classes (Gorodkin 2004), from −1 to 1: the correlation
  /// of actual and predicted; 0 where one of them is always the same class.
  double mcc() const;

  /// [[count, …] of each predicted label, …] of each actual one; with more than kWhole labels {"labels", "cells":
  /// [[actual, predicted, count], …]}.
  Json to_json() const;
  /// What to_json gave, and the square of any number of labels. Throws Error for JSON of another form.
  static ConfusionMatrix from_json(const Json& json);

 private:
  Cells cells_;
  std::vector<i64> actual_, predicted_;  // sums of rows and columns
};

/// What an evaluation yields.
struct Evaluation {
  ConfusionMatrix confusion;  ///< of no labels where the task has none
  double loss;                ///< mean, nats
  /// Scores by name of a task that has no confusion matrix, or further ones. More of each is better (higher_is_better): an
  /// error that is to be small goes in negated.
  std::map<std::string, double> extra = {};

  /// Takes in the evaluation of further texts, one at least, with the same classes; `extra` stays.
  void add(const Evaluation& further);
  double accuracy() const { return score("accuracy"); }
  double macro_f1() const { return score("macro_f1"); }
  /// F1 of class 1 where there are two classes.
  std::optional<double> positive_f1() const;
  /// "loss", "accuracy", "f1" or "macro_f1", "mcc", or one of `extra`. Throws Error, naming those there
  /// are, for another name; `find` then has none.
  double score(const std::string& name) const;
  std::optional<double> find(const std::string& name) const;
  /// {"accuracy", "macro_f1", "mcc", "positive_f1" (two classes only), …, "loss"}.
  Json scores() const;
  /// The scores and "confusion".
  Json to_json() const;
  /// What to_json gave, also without its confusion matrix. Throws Error for JSON of another form.
  static Evaluation from_json(const Json& json);
};

/// The scores by which the best model may be chosen where there are classes: "accuracy", …, "loss".
std::vector<std::string> metric_names();
/// Whether more of it is better: of all scores but the loss and the perplexity.
bool higher_is_better(const std::string& score);
/// Whether an evaluation's loss and that score (empty: the loss alone) are finite.
bool tells(const Evaluation& evaluation, const std::string& score);
/// Whether `later` is of a better model than `earlier`: by the score, of equals by the loss; where the score is empty, for
/// being later. One that tells nothing is never better.
bool is_better(const Evaluation& later, const Evaluation& earlier, const std::string& score);

/// The name of a class. Throws Error where it has none.
const std::string& name_of(i64 label, const std::vector<std::string>& label_names);

/// The scores of each class, in the order of the confusion matrix: [{"name", "precision", "recall", "f1",
/// "support": the texts of the class}, …].
Json scores_of_classes(const Evaluation& evaluation, const std::vector<std::string>& label_names);
/// The same and the matrix as text; of more classes than a terminal is wide, which of them were taken for which others
/// most often.
std::string table(const Evaluation& evaluation, const std::vector<std::string>& label_names);

double mean(const std::vector<double>& values);
/// The sample's standard deviation (n − 1); 0 for one value.
double deviation(const std::vector<double>& values);
double median(std::vector<double> values);

}  // namespace minima
