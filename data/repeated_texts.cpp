#include "data/repeated_texts.hpp"

#include <xxhash.h>

#include "core/text/utf8.hpp"
#include "data/unicode.hpp"
#include "data/word_scanner.hpp"

namespace minima {

void RepeatedTexts::add(std::string_view text, int split, i64 label) {
  const u64 hash = XXH3_64bits(text.data(), text.size());
  const auto in_sample = [&](u64 h) { return level_ == 0 || h >> (64 - level_) == 0; };
  if (!in_sample(hash)) return;
  const auto [found, is_new] = texts_.try_emplace(hash, Seen{{}, label});
  Seen& seen = found->second;
  ++seen.rows[static_cast<std::size_t>(split)];
  seen.conflict |= seen.label != label;
  while (texts_.size() > kMost) {
    ++level_;
    std::erase_if(texts_, [&](const auto& entry) { return !in_sample(entry.first); });
  }
}

template <class Count>
i64 RepeatedTexts::estimate(const Count& count) const {
  i64 sum = 0;
  for (const auto& [hash, seen] : texts_) sum += count(seen);
  return sum * one_in();
}

i64 RepeatedTexts::within(int split) const {
  return estimate([&](const Seen& seen) -> i64 {
    const u32 rows = seen.rows[static_cast<std::size_t>(split)];
    return rows > 1 ? rows - 1 : 0;
  });
}

i64 RepeatedTexts::shared(int split, int other) const {
  return estimate([&](const Seen& seen) -> i64 {
    return seen.rows[static_cast<std::size_t>(other)] > 0
               ? seen.rows[static_cast<std::size_t>(split)]
               : 0;
  });
}

RepeatedTexts::Conflicts RepeatedTexts::conflicts() const {
  return {estimate([](const Seen& seen) -> i64 { return seen.conflict; }),
          estimate([](const Seen& seen) -> i64 {
            return seen.conflict ? i64{seen.rows[0]} + seen.rows[1] + seen.rows[2] : 0;
          })};
}

std::string without_case_and_punctuation(const std::string& text, const std::string& pair) {
  Normalization lowered = Casing::uncased;
  lowered.strip_accents = false;  // año is not ano, and vowel signs are letters of their words
  std::string result;
  WordScanner words(text, lowered);
  while (words.next()) {
    const std::string_view word = words.word().bytes;
    if (unicode::properties()[decode_utf8(word).value] & unicode::punctuation) continue;
    if (!result.empty()) result += ' ';
    result += word;
  }
  if (!pair.empty()) result += '\t' + without_case_and_punctuation(pair);
  return result;
}

std::string as_written(const std::string& text, const std::string& pair) {
  return pair.empty() ? text : text + '\t' + pair;
}

std::string text_key(const std::string& text, const std::string& pair) {
  std::string words = without_case_and_punctuation(text, pair);
  return words.find_first_not_of('\t') == words.npos ? as_written(text, pair) : words;
}

Overlaps count_overlaps(const Dataset& dataset) {
  RepeatedTexts texts, exact;
  int split = 0;
  for (const auto* examples : {&dataset.train, &dataset.dev, &dataset.test}) {
    for (const Example& example : *examples) {
      texts.add(text_key(example.text, example.pair), split, example.label);
      exact.add(as_written(example.text, example.pair), split, example.label);
    }
    ++split;
  }
  return {texts.shared(1, 0), texts.shared(2, 0), texts.shared(2, 1), texts.conflicts(),
          exact.conflicts()};
}

}  // namespace minima
