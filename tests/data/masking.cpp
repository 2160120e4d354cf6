#include "data/masking.hpp"

#include <map>

#include "core/rng.hpp"
#include "data/batcher.hpp"
#include "tests/data/files.hpp"

using namespace minima;

namespace {

/// The special tokens 0 … 4, a … z as 5 … 30, ##a … ##z as 31 … 56.
Vocabulary letters(const std::string& continues = "##") {
  std::vector<std::string> tokens(std::begin(Vocabulary::kSpecialTokens),
                                  std::end(Vocabulary::kSpecialTokens));
  for (const std::string& prefix : {std::string(), continues})
    for (char c = 'a'; c <= 'z'; ++c) tokens.push_back(prefix + c);
  VocabularyNames names;
  names.continues = continues;
  return Vocabulary(std::move(tokens), "letters", names);
}

/// `texts` texts of `words` words of one to three pieces each, and an [UNK] in the middle.
TokenizedSplit some_texts(i64 texts, i64 words) {
  TokenizedSplit split;
  RandomSequence random(7, "masking test");
  for (i64 text = 0; text < texts; ++text) {
    split.tokens.push_back(2);
    for (i64 word = 0; word < words; ++word) {
      if (word == words / 2) split.tokens.push_back(1);
      split.tokens.push_back(static_cast<i32>(5 + random.below(26)));
      for (u64 more = random.below(3); more > 0; --more)
        split.tokens.push_back(static_cast<i32>(31 + random.below(26)));
    }
    split.tokens.push_back(3);
    split.offsets.push_back(static_cast<i64>(split.tokens.size()));
    split.labels.push_back(0);
  }
  return split;
}

/// (text, position) → the token that stands there after masking, and whether it was chosen.
std::map<std::pair<i64, i64>, std::pair<i64, bool>> fates(const Batch& masked) {
  std::map<std::pair<i64, i64>, std::pair<i64, bool>> result;
  for (i64 text = 0; text < masked.texts(); ++text)
    for (i64 row = masked.offsets.data<i64>()[text]; row < masked.offsets.data<i64>()[text + 1];
         ++row)
      result[{masked.example_id.data<i64>()[text], masked.positions.data<i64>()[row]}] = {
          masked.tokens.data<i64>()[row], std::ranges::count(masked.chosen.span<i64>(), row) > 0};
  return result;
}

std::vector<i64> all_of(const TokenizedSplit& split) {
  std::vector<i64> indices;
  for (i64 i = 0; i < split.size(); ++i) indices.push_back(i);
  return indices;
}

}  // namespace

TEST_CASE("masking chooses its share, and of that 80, 10 and 10 in a hundred") {
  const TokenizedSplit split = some_texts(400, 40);
  const Batch batch = make_batch(split, all_of(split));
  const Batch masked = Masking(letters(), {.rate = 0.3})(batch, 1);
  REQUIRE(masked.chosen.size() == masked.labels.size());
  double ordinary = 0, hidden = 0, kept = 0;
  for (const i64 token : batch.tokens.span<i64>()) ordinary += token > 4;
  std::map<i64, i64> others;
  for (i64 i = 0; i < masked.chosen.size(); ++i) {
    const i64 row = masked.chosen.data<i64>()[i], now = masked.tokens.data<i64>()[row];
    CHECK(batch.tokens.data<i64>()[row] == masked.labels.data<i64>()[i]);
    CHECK(masked.labels.data<i64>()[i] > 4);  // no special token is ever chosen
    hidden += now == 4;
    kept += now == masked.labels.data<i64>()[i];
    if (now != 4 && now != masked.labels.data<i64>()[i]) ++others[now];
  }
  const double chosen = static_cast<double>(masked.chosen.size());
  // Five standard deviations of each share.
  CHECK(chosen / ordinary == test::about(0.3, 0.05));
  CHECK(hidden / chosen == test::about(0.8, 0.03));
  CHECK(kept / chosen == test::about(0.1 + 0.1 / 52, 0.2));
  CHECK(others.size() == 52);         // every ordinary token takes another's place,
  CHECK(others.begin()->first == 5);  // and no special one does
  CHECK(others.rbegin()->first == 56);

  Tensor restored = masked.tokens.clone();
  for (i64 i = 0; i < masked.chosen.size(); ++i)
    restored.data<i64>()[masked.chosen.data<i64>()[i]] = masked.labels.data<i64>()[i];
  test::check_close(restored, batch.tokens, {0, 0});  // all others are as they were
}

TEST_CASE("a token's fate does not depend on its batch, but on seed and step") {
  const TokenizedSplit split = some_texts(20, 30);
  const Masking masking(letters(), {.rate = 0.3, .seed = 5});
  const auto together = fates(masking(make_batch(split, all_of(split)), 3));
  for (const std::vector<i64>& indices : {std::vector<i64>{4}, std::vector<i64>{19, 0, 7}})
    for (const auto& [place, fate] : fates(masking(make_batch(split, indices), 3)))
      CHECK(together.at(place) == fate);
  CHECK(together != fates(masking(make_batch(split, all_of(split)), 4)));
  const Masking other(letters(), {.rate = 0.3, .seed = 6});
  CHECK(together != fates(other(make_batch(split, all_of(split)), 3)));
}

TEST_CASE("by whole words, all pieces of a word are chosen or none is") {
  const TokenizedSplit split = some_texts(100, 30);
  const Batch batch = make_batch(split, all_of(split));
  const auto torn = [&](bool whole_words, const std::string& continues = "##") {
    const auto chosen = fates(Masking(letters(continues), {.whole_words = whole_words})(batch, 1));
    i64 count = 0;
    for (const auto& [place, fate] : chosen) {
      const i64 row = batch.offsets.data<i64>()[place.first] + place.second;
      if (batch.tokens.data<i64>()[row] < 31) continue;
      count += chosen.at({place.first, place.second - 1}).second != fate.second;
    }
    return count;
  };
  CHECK(torn(true) == 0);
  CHECK(torn(true, "@@") == 0);
  CHECK(torn(false) > 0);
}

TEST_CASE("a piece at a text's beginning continues no word of the text before it") {
  TokenizedSplit split;  // as in_pieces cuts a long text
  for (const i32 token : {2, 5, 3, 2, 31, 3}) split.tokens.push_back(token);
  split.offsets = {0, 3, 6};
  split.labels = {0, 0};
  const Masking masking(letters(), {.rate = 0.9, .whole_words = true});
  const Batch masked = masking(make_batch(split, {0, 1}), 1);
  CHECK(masked.chosen.size() == 1);
  CHECK(masking(make_batch(split, {1}), 1).chosen.size() == 0);
}

TEST_CASE("whole words are refused of a vocabulary that does not mark what continues a word") {
  VocabularyNames names;
  names.continues = "";
  const Vocabulary plain({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"}, "plain", names);
  CHECK(test::contains(test::error_of([&] { Masking(plain, {.whole_words = true}); }),
                       "continuing_subword_prefix is empty"));
  CHECK(test::error_of([&] { Masking(plain, {}); }).empty());
}

TEST_CASE("word dropout hides its share of ordinary tokens and nothing else") {
  const TokenizedSplit split = some_texts(200, 40);
  const Batch batch = make_batch(split, all_of(split));
  const Batch dropped = drop_words(batch, letters(), 0.15, 1, 1);
  double ordinary = 0, hidden = 0;
  for (i64 row = 0; row < batch.tokens.size(); ++row) {
    const i64 before = batch.tokens.data<i64>()[row], now = dropped.tokens.data<i64>()[row];
    ordinary += before > 4;
    hidden += now != before;
    if (now != before) {
      CHECK(now == 4);
      CHECK(before > 4);
    }
  }
  CHECK(hidden / ordinary == test::about(0.15, 0.1));
  test::check_close(drop_words(batch, letters(), 0, 1, 1).tokens, batch.tokens, {0, 0});
  const auto differs = [&](u64 seed, i64 step) {
    return !std::ranges::equal(drop_words(batch, letters(), 0.15, seed, step).tokens.span<i64>(),
                               dropped.tokens.span<i64>());
  };
  CHECK_FALSE(differs(1, 1));
  CHECK(differs(2, 1));
  CHECK(differs(1, 2));
}

TEST_CASE("masking refuses a share that is none") {
  for (const double rate : {0.0, 1.0, -0.1})
    CHECK_THROWS_AS(Masking(letters(), {.rate = rate}), Error);
  CHECK_THROWS_WITH_AS(Masking(letters(), {.rate = 1.5}),
                       "masking: the rate (--mask-rate) is 1.5; it must be above 0 and below 1",
                       Error);
}

TEST_CASE("a token that the vocabulary does not have is refused") {
  Batch batch = make_batch(some_texts(1, 2), {0});
  batch.tokens.data<i64>()[1] = 57;
  const Masking masking(letters(), {.whole_words = true});
  CHECK_THROWS_WITH_AS(masking(batch, 1),
                       "masking: token 57 of a vocabulary of 57; was it tokenized with another?",
                       Error);
  CHECK_THROWS_AS(masking.may_hide(-1), Error);
}

TEST_CASE("only who hides tokens needs a [MASK]") {
  const Vocabulary without({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"});
  CHECK_THROWS_WITH_AS(Masking(without, {}), doctest::Contains("no [MASK]"), Error);
  const TokenizedSplit split = some_texts(1, 2);
  const Batch batch = make_batch(split, {0});
  CHECK_THROWS_WITH_AS(drop_words(batch, without, 0.1, 1, 1), doctest::Contains("no [MASK]"),
                       Error);
  CHECK_NOTHROW(drop_words(batch, without, 0, 1, 1));
}

TEST_CASE(
    "where every text is to have a hidden token, those that have one already stay as they are") {
  const TokenizedSplit split = some_texts(200, 4);
  const Batch batch = make_batch(split, all_of(split));
  for (const bool whole_words : {false, true}) {
    const Masking masking(letters(), {.rate = 0.1, .whole_words = whole_words});
    const auto plain = fates(masking(batch, 3)), full = fates(masking(batch, 3, true));
    std::map<i64, i64> chosen, chosen_of_all;
    for (const auto& [place, fate] : plain) chosen[place.first] += fate.second;
    for (const auto& [place, fate] : full) chosen_of_all[place.first] += fate.second;
    i64 raised = 0;
    for (const auto& [place, fate] : full)
      if (chosen[place.first] > 0) CHECK(fate == plain.at(place));
    for (const auto& [text, count] : chosen_of_all) {
      raised += chosen[text] == 0;
      CHECK(count >= 1);
      if (chosen[text] == 0 && !whole_words) CHECK(count == 1);
    }
    CHECK(raised > 20);
  }
}
