/// What is in labelled texts: classes, lengths, repeated texts. Rows are counted as they go by;
/// memory does not grow with their number.
#pragma once

#include <map>
#include <string>

#include "data/readers/row.hpp"
#include "data/repeated_texts.hpp"
#include "data/tokenizer.hpp"

namespace minima {

/// How often each length occurs.
class Lengths {
 public:
  void add(i64 length) { ++rows_[length], ++count_, sum_ += length; }
  i64 count() const { return count_; }
  double mean() const {
    return count_ > 0 ? static_cast<double>(sum_) / static_cast<double>(count_) : 0;
  }
  /// The least length that `percent` of all do not exceed (nearest rank); 0 is the least of all,
  /// 100 the greatest.
  i64 percentile(double percent) const;

 private:
  std::map<i64, i64> rows_;
  i64 count_ = 0, sum_ = 0;
};

/// One split, or a file that is not split. A pair's lengths are those of both its texts.
struct SplitStatistics {
  i64 rows = 0, pairs = 0, empty = 0;  ///< empty: rows whose text has no word
  std::map<std::string, i64> labels;   ///< rows of each
  Lengths characters;                  ///< code points
  Lengths words;    ///< without punctuation, as texts are compared (repeated_texts.hpp)
  Lengths tokens;   ///< [CLS] and [SEP] counted; where there is a tokenizer
  i64 unknown = 0;  ///< [UNK] among them

  /// Entropy of the classes over that of equal shares: 1 where balanced, 0 for one class only.
  double balance() const;
};

class Statistics {
 public:
  /// `tokenizer` may be null.
  explicit Statistics(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  /// A row of split 0, 1 or 2. Throws Error for more different labels in all than kMostLabels (classes.hpp).
  void add(const Row& row, int split);

  const SplitStatistics& split(int i) const { return splits_[static_cast<std::size_t>(i)]; }
  const RepeatedTexts& exact() const { return exact_; }            ///< byte for byte
  const RepeatedTexts& normalized() const { return normalized_; }  ///< by text_key

 private:
  const Tokenizer* tokenizer_;
  std::array<SplitStatistics, RepeatedTexts::kSplits> splits_;
  std::map<std::string, i64> label_numbers_;
  RepeatedTexts exact_, normalized_;
  Encoding encoding_;
};

}  // namespace minima
