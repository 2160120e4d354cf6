#include "data/vocabulary_training.hpp"

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>

#include "core/error.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using WordCounts = std::unordered_map<std::string, i64, StringHash, std::equal_to<>>;

WordCounts count_words(const std::vector<std::string_view>& texts, Casing casing) {
  WordCounts counts;
  for (const std::string_view text : texts) {
    WordScanner words(text, casing);
    while (words.next()) {
      const Word& word = words.word();
      if (word.too_long) continue;  // [UNK] whatever the vocabulary
      if (const auto found = counts.find(word.bytes); found != counts.end())
        ++found->second;
      else
        counts.emplace(word.bytes, 1);
    }
  }
  return counts;
}

std::u32string characters(std::string_view word) {
  std::u32string result;
  while (!word.empty()) {
    const CodePoint point = decode_utf8(word);
    result += point.value;
    word.remove_prefix(static_cast<std::size_t>(point.bytes));
  }
  return result;
}

/// The words as sequences of pieces, and how often each pair of neighbours occurs.
class Merger {
 public:
  struct Pair {
    i32 left, right;
    auto operator<=>(const Pair&) const = default;
  };

  void add_word(std::vector<i32> pieces, i64 count) {
    const i32 word = static_cast<i32>(words_.size());
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
      add({pieces[i], pieces[i + 1]}, count, word);
    words_.push_back({std::move(pieces), count});
  }

  void start() {
    for (const auto& [key, occurrences] : pairs_) queue_.push({occurrences.count, pair(key)});
  }

  /// The most frequent pair and its count; count 0 when there is none.
  std::pair<Pair, i64> most_frequent() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const i64 count = pairs_[key(best.pair)].count;
      if (count == best.count) return {best.pair, count};
      if (count > 0) queue_.push({count, best.pair});  // it has changed since it was queued
    }
    return {{0, 0}, 0};
  }

  /// Joins every occurrence of `merged` into `piece`.
  void merge(Pair merged, i32 piece) {
    std::vector<i32> where = std::move(pairs_[key(merged)].words);
    pairs_[key(merged)] = {};
    std::ranges::sort(where);
    where.erase(std::unique(where.begin(), where.end()), where.end());
    grown_.clear();
    for (const i32 index : where) {
      auto& [pieces, count] = words_[index];
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
        if (Pair{pieces[i], pieces[i + 1]} != merged) continue;
        if (i > 0) {
          add({pieces[i - 1], pieces[i]}, -count, index);
          add({pieces[i - 1], piece}, count, index);
        }
        if (i + 2 < pieces.size()) {
          add({pieces[i + 1], pieces[i + 2]}, -count, index);
          add({piece, pieces[i + 2]}, count, index);
        }
        pieces[i] = piece;
        pieces.erase(pieces.begin() + static_cast<i64>(i) + 1);
      }
    }
    std::ranges::sort(grown_);
    grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
    for (const u64 k : grown_)
      if (const i64 count = pairs_[k].count; count > 0) queue_.push({count, pair(k)});
  }

 private:
  struct Candidate {
    i64 count;
    Pair pair;
    /// For the priority queue, which takes the greatest: more frequent, then smaller ids.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : other.pair < pair;
    }
  };
  struct Occurrences {
    i64 count = 0;
    std::vector<i32> words;  // where it has occurred; some may have lost it since
  };
  struct Pieces {
    std::vector<i32> pieces;
    i64 count;
  };

  static u64 key(Pair p) { return static_cast<u64>(p.left) << 32 | static_cast<u32>(p.right); }
  static Pair pair(u64 key) { return {static_cast<i32>(key >> 32), static_cast<i32>(key)}; }

  void add(Pair p, i64 count, i32 word) {
    Occurrences& occurrences = pairs_[key(p)];
    occurrences.count += count;
    if (count < 0) return;
    if (occurrences.words.empty() || occurrences.words.back() != word)
      occurrences.words.push_back(word);
    grown_.push_back(key(p));
  }

  std::vector<Pieces> words_;
  std::unordered_map<u64, Occurrences> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<u64> grown_;  // keys of the pairs that the present merge has made more frequent
};

}  // namespace

Vocabulary train_vocabulary(const std::vector<std::string_view>& texts,
                            const VocabularyOptions& options) {
  check(options.alphabet >= 0,
        "vocabulary: an alphabet of {} characters at most; it must be at least 0",
        options.alphabet);
  const WordCounts words = count_words(texts, options.casing);
  check(!words.empty(), "vocabulary: {} texts hold no word to learn from", texts.size());

  // The alphabet: the most frequent characters, then in the order of their code points.
  std::map<char32_t, i64> frequency;
  for (const auto& [word, count] : words)
    for (const char32_t character : characters(word)) frequency[character] += count;
  std::vector<std::pair<char32_t, i64>> alphabet(frequency.begin(), frequency.end());
  std::ranges::stable_sort(alphabet, std::greater{}, &std::pair<char32_t, i64>::second);
  if (std::ssize(alphabet) > options.alphabet)
    alphabet.resize(static_cast<std::size_t>(options.alphabet));
  std::ranges::sort(alphabet);

  std::vector<std::string> tokens(std::begin(Vocabulary::kSpecialTokens),
                                  std::end(Vocabulary::kSpecialTokens));
  std::map<char32_t, i32> first_id, inner_id;
  for (const auto& [character, _] : alphabet) {
    first_id[character] = static_cast<i32>(tokens.size());
    append_utf8(tokens.emplace_back(), character);
  }
  const auto in_alphabet = [&](char32_t character) { return first_id.contains(character); };
  for (const auto& [word, _] : words)
    if (const std::u32string text = characters(word); std::ranges::all_of(text, in_alphabet))
      for (std::size_t i = 1; i < text.size(); ++i) inner_id[text[i]] = 0;
  for (auto& [character, id] : inner_id) {
    id = static_cast<i32>(tokens.size());
    append_utf8(tokens.emplace_back("##"), character);
  }
  check(std::ssize(tokens) <= options.size,
        "vocabulary: {} entries do not hold the {} special tokens and single characters; ask for "
        "more entries, or take a vocabulary that there is",
        options.size, tokens.size());

  Merger merger;
  for (const auto& [word, count] : words) {
    const std::u32string text = characters(word);
    if (!std::ranges::all_of(text, in_alphabet)) continue;
    std::vector<i32> pieces = {first_id[text[0]]};
    for (std::size_t i = 1; i < text.size(); ++i) pieces.push_back(inner_id[text[i]]);
    merger.add_word(std::move(pieces), count);
  }
  merger.start();
  while (std::ssize(tokens) < options.size) {
    const auto [pair, count] = merger.most_frequent();
    if (count < std::max<i64>(options.min_frequency, 1)) break;
    // No other pair spells the same piece: within a stretch of characters the merges do not depend
    // on what stands around it, so a piece is always put together in the same way.
    const i32 piece = static_cast<i32>(tokens.size());
    tokens.push_back(tokens[pair.left] + tokens[pair.right].substr(2));  // without its "##"
    merger.merge(pair, piece);
  }
  return Vocabulary(std::move(tokens));
}

}  // namespace minima
