#include "data/batcher.hpp"

#include <algorithm>
#include <set>

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
    const auto begin = split().tokens.begin() + split().offsets[i];
    CHECK(std::vector<i32>(begin, begin + split().length(i)) == expected.ids);
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

TEST_CASE("a batch size without sense, or too small for a text, is refused") {
  CHECK_THROWS_AS(batches_in_order(split(), {}), Error);
  CHECK_THROWS_AS(batches_in_order(split(), {.texts = 8, .tokens = 100}), Error);
  CHECK_THROWS_AS(batches_in_order(split(), {.texts = -1}), Error);
  CHECK(test::contains(
      test::error_of([] { batches_in_order(split(), BatchSize::of_tokens(kMaxLength - 1)); }),
      "allow more tokens"));
  CHECK(batches_in_order(TokenizedSplit{}, BatchSize::of_texts(1)).empty());
}

}  // namespace minima
