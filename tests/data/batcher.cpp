#include "data/batcher.hpp"

#include <algorithm>

#include "core/cpu/threads.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

constexpr i64 kMaxLength = 40;

const Dataset& data() {
  static const Dataset result = load_dataset("builtin", 1);
  return result;
}

const Tokenizer& tokenizer() {
  static const Tokenizer result = [] {
    std::vector<std::string_view> texts;
    for (const Example& example : data().train) texts.push_back(example.text);
    return Tokenizer(train_vocabulary(texts, {.size = 1000}), Casing::uncased);
  }();
  return result;
}

const TokenizedSplit& split() {
  static const TokenizedSplit result = tokenize(tokenizer(), data().train, kMaxLength);
  return result;
}

std::vector<i64> flat(const std::vector<std::vector<i64>>& batches) {
  std::vector<i64> result;
  for (const auto& batch : batches) result.insert(result.end(), batch.begin(), batch.end());
  return result;
}

}  // namespace

TEST_CASE("a tokenized split holds what the tokenizer gives for each text, cut to the length") {
  REQUIRE(split().size() == std::ssize(data().train));
  for (i64 i = 0; i < split().size(); ++i) {
    const Encoding expected = tokenizer().encode(data().train[i].text, {.max_length = kMaxLength});
    std::vector<i32> ids;
    for (i64 j = split().offsets[i]; j < split().offsets[i + 1]; ++j)
      ids.push_back(split().tokens[j]);
    CHECK(ids == expected.ids);
    CHECK(split().labels[i] == data().train[i].label);
  }
  CHECK_THROWS_AS(tokenize(tokenizer(), data().train, 1), Error);
}

TEST_CASE("tokenizing gives the same for any number of threads") {
  const int before = threads();
  set_threads(1);
  const TokenizedSplit alone = tokenize(tokenizer(), data().train, kMaxLength);
  set_threads(3);
  const TokenizedSplit together = tokenize(tokenizer(), data().train, kMaxLength);
  set_threads(before);
  CHECK(alone.tokens == together.tokens);
  CHECK(alone.offsets == together.offsets);
}

TEST_CASE("an epoch has every text exactly once, in batches of the size asked for") {
  for (const BatchSize size : {BatchSize::of_texts(32), BatchSize::of_tokens(500)}) {
    const auto batches = epoch_batches(split(), size, 1, 0);
    std::vector<i64> all = flat(batches);
    std::ranges::sort(all);
    CHECK(std::ssize(all) == split().size());
    CHECK(std::ranges::adjacent_find(all) == all.end());
    for (std::size_t b = 0; b < batches.size(); ++b) {
      i64 tokens = 0;
      for (const i64 i : batches[b]) tokens += split().length(i);
      const bool last = b + 1 == batches.size();
      if (size.texts > 0)
        CHECK((last || std::ssize(batches[b]) == 32));
      else
        CHECK(tokens <= 500);
      // No batch is left with room for the next text.
      if (size.tokens > 0 && !last) CHECK(tokens + split().length(batches[b + 1].front()) > 500);
    }
  }
}

TEST_CASE("the order depends on seed and epoch alone") {
  const auto order = [](u64 seed, i64 epoch) {
    return flat(epoch_batches(split(), BatchSize::of_texts(32), seed, epoch));
  };
  CHECK(order(1, 0) == order(1, 0));
  CHECK(order(1, 0) != order(1, 1));
  CHECK(order(1, 0) != order(2, 0));
  CHECK(order(1, 0) == flat(epoch_batches(split(), BatchSize::of_tokens(500), 1, 0)));
  const std::vector<i64> sorted = flat(batches_in_order(split(), BatchSize::of_tokens(500)));
  CHECK(std::ranges::is_sorted(sorted));
  CHECK(std::ssize(sorted) == split().size());
}

TEST_CASE("a batch packs its texts one after another") {
  const Batch batch = make_batch(split(), {5, 2});
  const i64 first = split().length(5), second = split().length(2);
  REQUIRE(batch.texts() == 2);
  CHECK(batch.length(0) == first);
  CHECK(batch.length(1) == second);
  CHECK(batch.tokens.size() == first + second);
  CHECK(batch.tokens.data<i64>()[0] == tokenizer().vocabulary().special().cls);
  CHECK(batch.tokens.data<i64>()[first - 1] == tokenizer().vocabulary().special().sep);
  CHECK(batch.tokens.data<i64>()[first + 1] == split().tokens[split().offsets[2] + 1]);
  CHECK(batch.positions.data<i64>()[first - 1] == first - 1);
  CHECK(batch.positions.data<i64>()[first] == 0);
  CHECK(batch.example_id.data<i64>()[0] == 5);
  CHECK(batch.labels.data<i64>()[1] == data().train[2].label);
}

TEST_CASE("a pair is packed with the type of each of its tokens, cut as the tokenizer cuts pairs") {
  const std::vector<Example> examples = {{"my screen stays black", 0, "please help"},
                                         {"the invoice", 1},
                                         {"a b c d e", 0, "f g h i j k"}};
  const i64 longest = 9;
  const TokenizedSplit pairs = tokenize(tokenizer(), examples, longest);
  CHECK(pairs.cut == std::ranges::count_if(examples, [&](const Example& one) {
          return tokenizer().encode(one.text, one.pair).size() > longest;
        }));
  CHECK(pairs.cut > 0);
  CHECK(tokenize(tokenizer(), examples, 100).cut == 0);
  const std::vector<Example> one = {examples[1]};
  const i64 whole = tokenizer().encode(one[0].text).size();
  CHECK(tokenize(tokenizer(), one, whole).cut == 0);
  CHECK(tokenize(tokenizer(), one, whole - 1).cut == 1);
  const Batch batch = make_batch(pairs, {2, 0, 1});
  i64 at = 0;
  for (const i64 i : {2, 0, 1}) {
    const Encoding expected =
        tokenizer().encode(examples[static_cast<std::size_t>(i)].text,
                           examples[static_cast<std::size_t>(i)].pair, {.max_length = longest});
    for (i64 j = 0; j < expected.size(); ++j, ++at) {
      CHECK(batch.tokens.data<i64>()[at] == expected.ids[static_cast<std::size_t>(j)]);
      CHECK(batch.token_types.data<i64>()[at] == expected.type_ids[static_cast<std::size_t>(j)]);
    }
  }
  CHECK(at == batch.tokens.size());
  CHECK(!make_batch(split(), {0}).token_types.defined());
}

TEST_CASE("ids are kept in two bytes, and in four from the first that needs them") {
  TokenIds ids, other;
  for (const i32 id : {0, 65'535, 65'536, 7}) {
    ids.push_back(id);
    CHECK(ids[ids.size() - 1] == id);
  }
  CHECK(ids[0] == 0);
  CHECK(ids[1] == 65'535);
  other.push_back(3);
  other.append(ids);
  CHECK(other.size() == 5);
  CHECK(other[0] == 3);
  CHECK(other[3] == 65'536);
}

TEST_CASE("a batch of texts that there are not, or whose parts do not fit, is refused") {
  CHECK_THROWS_WITH_AS(make_batch(split(), {0, 100'000'000}),
                       doctest::Contains("there is no text 100000000"), Error);
  CHECK_THROWS_AS(make_batch(split(), {-1}), Error);
  const Batch good = make_batch(split(), {0, 1});
  const i64 tokens = good.tokens.size();
  CHECK_NOTHROW(completed(good));
  for (const std::vector<i64>& offsets : std::vector<std::vector<i64>>{{0, 1'000'000, tokens},
                                                                       {0, 2, 1, tokens},
                                                                       {1, 2, tokens},
                                                                       {0, tokens},
                                                                       {0, 2, tokens - 1}}) {
    Batch bad = good;
    bad.offsets = Tensor::from(offsets);
    CHECK_THROWS_AS(completed(bad), Error);
  }
  for (const std::vector<i64>& chosen : std::vector<std::vector<i64>>{{tokens}, {-1, 0}, {2, 1}}) {
    Batch bad = good;
    bad.chosen = Tensor::from(chosen);
    CHECK_THROWS_AS(completed(bad), Error);
  }
}

TEST_CASE("a batch size without sense, or too small for a text, is refused") {
  CHECK_THROWS_AS(batches_in_order(split(), {}), Error);
  CHECK_THROWS_AS(batches_in_order(split(), {.texts = 8, .tokens = 100}), Error);
  CHECK_THROWS_AS(batches_in_order(split(), {.texts = -1}), Error);
  CHECK(test::contains(
      test::error_of([] { batches_in_order(split(), BatchSize::of_tokens(kMaxLength - 1)); }),
      "allow more tokens"));
  CHECK(batches_in_order(TokenizedSplit{}, BatchSize::of_texts(1)).empty());
}

TEST_CASE("a batch is filled to the last token that it may hold") {
  TokenizedSplit split;
  split.offsets = {0};
  for (const i64 length : {3, 2, 5, 4, 2}) split.offsets.push_back(split.offsets.back() + length);
  split.labels.resize(5);
  CHECK(batches_in_order(split, BatchSize::of_tokens(5)) ==
        std::vector<std::vector<i64>>{{0, 1}, {2}, {3}, {4}});
}

TEST_CASE("a long text is cut into pieces, and nothing of it is lost") {
  TokenizedSplit split;
  for (const i32 token : {2, 10, 11, 12, 13, 14, 3, 2, 3, 2, 20, 21, 3})
    split.tokens.push_back(token);
  split.offsets = {0, 7, 9, 13};
  split.labels = {0, 1, 0};
  const TokenizedSplit pieces = in_pieces(split, 4);
  std::vector<i32> tokens;
  for (i64 i = 0; i < static_cast<i64>(pieces.tokens.size()); ++i)
    tokens.push_back(pieces.tokens[i]);
  CHECK(tokens == std::vector<i32>{2, 10, 11, 3, 2, 12, 13, 3, 2, 14, 3, 2, 3, 2, 20, 21, 3});
  CHECK(pieces.offsets == std::vector<i64>{0, 4, 8, 11, 13, 17});
  CHECK(pieces.labels == std::vector<i64>{0, 0, 0, 1, 0});
}

}  // namespace minima
