/// What the program says on standard error of data, models and optimizers that may be otherwise than meant.
#pragma once

#include "train/model_directory.hpp"
#include "train/task.hpp"
#include "train/training_options.hpp"

namespace minima {

/// Says that a model has learned from pairs and is given single texts, for which
/// `option` is missing. Throws Error for pairs where it cannot tell their texts apart.
void tell_of_pairs(const TextClassifier& classifier, const std::string& model, bool pairs,
                   const std::string& option);

/// Says which labels look alike but for blanks and letter case.
void tell_of_alike_labels(const std::vector<std::string>& labels);
/// Says where a vocabulary does not know many of the words that are to be learned from.
void tell_of_unknown(const Task& task);
/// Says that texts are cut to their first tokens.
void tell_of_cut(i64 cut, i64 texts, std::string_view what, i64 max_length);
/// Texts of which a model can say little.
class PoorTexts {
 public:
  /// Looks at text `i` of `split`, which begins in `line` of its source.
  void add(const Tokenizer& tokenizer, const TokenizedSplit& split, i64 i, const Example& text,
           i64 line);
  /// Says how many of so many texts are of each kind, and where the first is.
  void tell(i64 texts) const;

 private:
  struct Count {
    i64 texts = 0, first = 0;
    void add(i64 line) {
      if (texts++ == 0) first = line;
    }
  };
  Count empty_, unknown_, no_utf8_;
};
/// Says that texts of one split are in another.
void tell_of_overlaps(const Task& task);
/// Says that texts have more labels than one.
void tell_of_conflicts(const Task& task);
/// Says which classes no evaluation sees.
void tell_of_rare_classes(const Task& task);
/// Says what each class counts in training's loss where that is given in numbers, and warns of one that counts far
/// more than others.
void tell_of_class_weights(const Task& task, const TrainingOptions& training);

/// Says where a spec's own rate leaves SGD without the momentum that it has else, where an optimizer is in 8 bits
/// by its name alone, and where state=… does nothing, as there is no number for each weight.
void tell_of_spec(const std::string& spec);

}  // namespace minima
