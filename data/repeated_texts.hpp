/// RepeatedTexts: which texts occur more than once, within a split and across splits, in memory that
/// does not grow with the data.
///
/// A text is kept as its 64-bit hash. When there are more than kMost of them, those whose hash
/// begins with another zero bit are kept and the others forgotten: as all copies of a text have the
/// same hash, what is said of the sample is exact, and 2ᵏ times as much an estimate of the whole
/// (Gibbons 2001, "Distinct sampling", VLDB, §3).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/dataset.hpp"

namespace minima {

class RepeatedTexts {
 public:
  static constexpr int kSplits = 3;
  static constexpr std::size_t kMost = std::size_t{1} << 19;

  /// A text of split 0, 1 or 2, and a number that stands for its label.
  void add(std::string_view text, int split, i64 label);

  /// Every text in how many is looked at: 1 is all, and then what follows is exact.
  i64 one_in() const { return i64{1} << level_; }

  /// Rows of a split whose text an earlier row of the split has.
  i64 within(int split) const;
  /// Rows of `split` whose text occurs in `other`.
  i64 shared(int split, int other) const;
  /// Texts that occur with two labels or more, and the rows that have such a text.
  struct Conflicts {
    i64 texts = 0, rows = 0;
  };
  Conflicts conflicts() const;

 private:
  struct Seen {
    std::array<u32, kSplits> rows{};
    i64 label;
    bool conflict = false;
  };
  template <class Count>
  i64 estimate(const Count& count) const;

  std::unordered_map<u64, Seen> texts_;
  int level_ = 0;
};

/// Texts of one split that occur in another, by their keys (text_key): they flatter a model's accuracy. And texts
/// with several labels, by their keys, and as they are written: of the latter no model is right about all rows.
struct Overlaps {
  i64 dev_in_train = 0, test_in_train = 0, test_in_dev = 0;
  RepeatedTexts::Conflicts conflicts{}, exact_conflicts{};
};
Overlaps count_overlaps(const Dataset& dataset);

/// A text as it is written; of a pair both texts, with a tab between.
std::string as_written(const std::string& text, const std::string& pair);

/// A text's words in lower case, with their accents, without punctuation, with one space between; of a
/// pair both texts'. A letter and its accent in one code point or in two are different words.
std::string without_case_and_punctuation(const std::string& text, const std::string& pair = {});

/// What texts are told apart by: their words so; of one that has none, ":)" or "???", all that it has.
std::string text_key(const std::string& text, const std::string& pair = {});

/// The rows of each text, by their keys, in the order of their first. A row is a Row or an Example.
template <class Row>
std::vector<std::vector<std::size_t>> rows_of_texts(const std::vector<Row>& rows) {
  std::unordered_map<std::string, std::size_t> place;
  std::vector<std::vector<std::size_t>> texts;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto [known, is_new] =
        place.try_emplace(text_key(rows[i].text, rows[i].pair), texts.size());
    if (is_new) texts.emplace_back();
    texts[known->second].push_back(i);
  }
  return texts;
}

}  // namespace minima
