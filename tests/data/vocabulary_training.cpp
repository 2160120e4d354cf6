#include "data/vocabulary_training.hpp"

#include <algorithm>
#include <map>

#include "core/rng.hpp"
#include "data/dataset.hpp"
#include "data/tokenizer.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::vector<std::string_view> views(const std::vector<Example>& examples) {
  std::vector<std::string_view> result;
  for (const Example& example : examples) result.push_back(example.text);
  return result;
}

/// The same by counting all pairs anew before every merge.
std::vector<std::string> train_slowly(const std::vector<std::string_view>& texts, i64 size) {
  // Words of lower-case ASCII letters and spaces only.
  std::map<std::string, i64> counts;
  for (const std::string_view text : texts) {
    std::string word;
    for (const char c : std::string(text) + " ") {
      if (c != ' ') {
        word += c;
        continue;
      }
      if (!word.empty()) ++counts[word];
      word.clear();
    }
  }
  std::vector<std::string> tokens(std::begin(Vocabulary::kSpecialTokens),
                                  std::end(Vocabulary::kSpecialTokens));
  std::map<std::string, bool> first, inner;
  for (const auto& [word, _] : counts)
    for (std::size_t i = 0; i < word.size(); ++i) {
      first[word.substr(i, 1)] = true;
      if (i > 0) inner["##" + word.substr(i, 1)] = true;
    }
  for (const auto& [token, _] : first) tokens.push_back(token);
  for (const auto& [token, _] : inner) tokens.push_back(token);
  const auto id = [&](const std::string& token) {
    return static_cast<i32>(std::ranges::find(tokens, token) - tokens.begin());
  };

  std::vector<std::pair<std::vector<i32>, i64>> words;
  for (const auto& [word, count] : counts) {
    std::vector<i32> pieces;
    for (std::size_t i = 0; i < word.size(); ++i)
      pieces.push_back(id((i > 0 ? "##" : "") + word.substr(i, 1)));
    words.emplace_back(pieces, count);
  }
  while (std::ssize(tokens) < size) {
    std::map<std::pair<i32, i32>, i64> pairs;
    for (const auto& [pieces, count] : words)
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
        pairs[{pieces[i], pieces[i + 1]}] += count;
    // A map is in the order of ids, and max_element gives the first of equals.
    const auto best = std::ranges::max_element(pairs, {}, [](const auto& p) { return p.second; });
    if (best == pairs.end() || best->second < 2) break;
    const auto [left, right] = best->first;
    const std::string piece = tokens[left] + tokens[right].substr(2);
    if (id(piece) == std::ssize(tokens)) tokens.push_back(piece);
    for (auto& [pieces, count] : words)
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
        if (pieces[i] == left && pieces[i + 1] == right) {
          pieces[i] = id(piece);
          pieces.erase(pieces.begin() + static_cast<i64>(i) + 1);
        }
  }
  return tokens;
}

}  // namespace

TEST_CASE("training merges the most frequent pair first and breaks ties by the smaller ids") {
  // Pairs: (a,##b) 3, (##b,##c) 2, (x,##y) 2. After "ab": (ab,##c) 2 and (x,##y) 2; x has the
  // smaller id, for it was there before.
  const Vocabulary trained = train_vocabulary({"abc abc ab xy xy"}, {.size = 100});
  const std::vector<std::string> expected = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",
                                             "b",     "c",     "x",     "y",     "##b",    "##c",
                                             "##y",   "ab",    "xy",    "abc"};
  CHECK(trained.tokens() == expected);
}

TEST_CASE("a pair rarer than the minimum is not merged") {
  CHECK(train_vocabulary({"ab ab cd"}, {.size = 100}).find("cd") < 0);
  CHECK(train_vocabulary({"ab ab cd"}, {.size = 100, .min_frequency = 1}).find("cd") >= 0);
}

TEST_CASE("training equals counting all pairs anew before every merge") {
  RandomSequence random(1, "words");
  std::string text;
  for (int word = 0; word < 3000; ++word) {
    for (u64 letters = 1 + random.below(9); letters > 0; --letters)
      text += static_cast<char>('a' + std::min(random.below(4), random.below(4)));
    text += ' ';
  }
  CHECK(train_vocabulary({text}, {.size = 300}).tokens() == train_slowly({text}, 300));
}

TEST_CASE("a trained vocabulary does not depend on the order of the texts") {
  const Dataset data = load_dataset("builtin", 1);
  std::vector<std::string_view> texts = views(data.train);
  const Vocabulary trained = train_vocabulary(texts, {.size = 1000});
  CHECK(trained.size() == 1000);
  std::ranges::reverse(texts);
  CHECK(train_vocabulary(texts, {.size = 1000}).tokens() == trained.tokens());
}

TEST_CASE("the texts that a vocabulary was trained on hold no unknown word") {
  const Dataset data = load_dataset("builtin", 1);
  for (const Casing casing : {Casing::uncased, Casing::cased}) {
    const Tokenizer tokenizer(train_vocabulary(views(data.train), {.size = 1000, .casing = casing}),
                              casing);
    std::vector<Token> tokens;
    for (const Example& example : data.train) tokenizer.tokenize(example.text, tokens);
    const i32 unknown = tokenizer.vocabulary().special().unk;
    CHECK(std::ranges::none_of(tokens, [&](const Token& t) { return t.id == unknown; }));
  }
}

TEST_CASE("the alphabet is limited to the most frequent characters") {
  const Vocabulary trained =
      train_vocabulary({"aa bb aa bb \u4E2D aaz"}, {.size = 100, .alphabet = 2});
  CHECK(trained.find("b") >= 0);
  CHECK(trained.find("z") < 0);
  CHECK(trained.find("\u4E2D") < 0);
  CHECK(trained.find("aa") >= 0);
  // A word with another character, or one too long for the tokenizer, gives no pieces.
  std::string text = "ab ab";
  for (int i = 0; i < 9; ++i) text += " cab " + std::string(kMaxWordCharacters + 1, 'b');
  const std::vector<std::string> expected = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                                             "a",     "b",     "##b",   "ab"};
  CHECK(train_vocabulary({text}, {.size = 100, .alphabet = 2}).tokens() == expected);
}

TEST_CASE("training without words or without room is refused") {
  CHECK(test::contains(test::error_of([] { train_vocabulary({" ", "\t"}, {}); }), "no word"));
  CHECK(test::contains(test::error_of([] { train_vocabulary({"a"}, {.alphabet = -1}); }),
                       "an alphabet of -1 characters at most"));
  CHECK(test::contains(test::error_of([] { train_vocabulary({"abc"}, {.size = 8}); }),
                       "ask for more entries"));
}

}  // namespace minima
