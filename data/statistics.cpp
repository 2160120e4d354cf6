#include "data/statistics.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/text/utf8.hpp"
#include "data/classes.hpp"

namespace minima {

i64 Lengths::percentile(double percent) const {
  const auto rank = static_cast<i64>(std::ceil(percent / 100 * static_cast<double>(count_)));
  i64 seen = 0;
  for (const auto& [length, rows] : rows_) {
    seen += rows;
    if (seen >= std::max<i64>(rank, 1)) return length;
  }
  return 0;
}

double SplitStatistics::balance() const {
  if (labels.size() < 2) return 0;
  double entropy = 0;
  for (const auto& [label, count] : labels) {
    const double share = static_cast<double>(count) / static_cast<double>(rows);
    entropy -= share * std::log(share);
  }
  return entropy / std::log(static_cast<double>(labels.size()));
}

void Statistics::add(const Row& row, int split) {
  SplitStatistics& s = splits_[static_cast<std::size_t>(split)];
  ++s.rows;
  s.pairs += !row.pair.empty();
  ++s.labels[row.label];
  const i64 label = label_numbers_.try_emplace(row.label, std::ssize(label_numbers_)).first->second;
  check(label_numbers_.size() <= kMostLabels,
        "row {} brings the {}th different label, '{}'; is this the column of the labels?", row.line,
        label_numbers_.size(), shown(row.label));

  i64 characters = 0;
  for (const std::string* text : {&row.text, &row.pair})
    characters += static_cast<i64>(count_characters(*text));
  s.characters.add(characters);
  const std::string written = as_written(row.text, row.pair);
  const std::string words = without_case_and_punctuation(row.text, row.pair);
  i64 word_count = 0;
  bool within = false;
  for (const char c : words) {
    const bool separates = c == ' ' || c == '\t';  // the tab two texts
    word_count += !separates && !within;
    within = !separates;
  }
  s.empty += word_count == 0;
  s.words.add(word_count);
  exact_.add(written, split, label);
  normalized_.add(word_count == 0 ? written : words, split, label);  // text_key, of known words
  if (!tokenizer_) return;
  tokenizer_->encode(row.text, row.pair, {.truncation = Truncation::none}, encoding_);
  s.tokens.add(encoding_.size());
  s.unknown += std::ranges::count(encoding_.ids, tokenizer_->vocabulary().special().unk);
}

}  // namespace minima
