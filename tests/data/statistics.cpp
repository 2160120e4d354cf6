#include "data/statistics.hpp"

#include <cmath>

#include "data/dataset.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {

TEST_CASE("percentiles are by nearest rank") {
  Lengths lengths;
  CHECK(lengths.percentile(50) == 0);
  for (const i64 length : {15, 20, 35, 40, 50}) lengths.add(length);
  // The worked example of the definition: 5 → 15, 30 → 20, 40 → 20, 50 → 35, 100 → 50.
  CHECK(lengths.percentile(0) == 15);
  CHECK(lengths.percentile(5) == 15);
  CHECK(lengths.percentile(30) == 20);
  CHECK(lengths.percentile(40) == 20);
  CHECK(lengths.percentile(50) == 35);
  CHECK(lengths.percentile(100) == 50);
  CHECK(lengths.mean() == 32);
}

TEST_CASE("rows are counted by label, length, and repeated text") {
  Statistics statistics(nullptr);
  statistics.add({"0", "A caf\u00E9, a caf\u00E9!", 2}, 0);
  statistics.add({"1", "a CAF\u00C9 a caf\u00E9", 3}, 0);
  statistics.add({"0", "...", 4}, 0);
  statistics.add({"0", "one", 2, "two three"}, 1);
  statistics.add({"0", "a caf\u00E9 a caf\u00E9", 3}, 1);
  const SplitStatistics& train = statistics.split(0);
  CHECK(train.rows == 3);
  CHECK(train.labels.at("0") == 2);
  CHECK(train.characters.percentile(100) == 15);
  CHECK(train.words.percentile(100) == 4);
  CHECK(train.empty == 1);
  CHECK(train.balance() == doctest::Approx((std::log(3) - 2 * std::log(2) / 3) / std::log(2)));
  CHECK(statistics.split(1).pairs == 1);
  CHECK(statistics.split(1).words.percentile(0) == 3);
  CHECK(statistics.exact().within(0) == 0);
  CHECK(statistics.normalized().within(0) == 1);
  CHECK(statistics.normalized().shared(1, 0) == 1);
  CHECK(statistics.exact().shared(1, 0) == 0);
  CHECK(statistics.normalized().conflicts().texts == 1);
  CHECK(statistics.normalized().conflicts().rows == 3);
  CHECK(statistics.exact().conflicts().texts == 0);
  statistics.add({"1", "one two", 4, "three"}, 1);  // another pair of the same words
  CHECK(statistics.normalized().within(1) == 0);
  statistics.add({"1", ":)", 5}, 0);  // another text, though it has no word either
  CHECK(statistics.split(0).empty == 2);
  CHECK(statistics.normalized().within(0) == 1);
}

TEST_CASE("more repeated texts than are kept are estimated from a sample") {
  RepeatedTexts texts;
  const i64 n = 3 * static_cast<i64>(RepeatedTexts::kMost);
  for (i64 i = 0; i < n; ++i) texts.add(std::to_string(i / 2), 0, i % 8 == 0);  // each twice
  for (i64 i = 0; i < n; i += 4) texts.add(std::to_string(i / 2), 1, i % 8 == 0);
  CHECK(texts.one_in() == 2);
  const auto near = [](i64 estimate, i64 truth) {
    return std::abs(static_cast<double>(estimate - truth)) < 0.01 * static_cast<double>(truth);
  };
  CHECK(near(texts.within(0), n / 2));
  CHECK(near(texts.shared(1, 0), n / 4));
  CHECK(near(texts.shared(0, 1), n / 2));
  CHECK(near(texts.conflicts().texts, n / 8));
}

TEST_CASE("a column of ever different labels is refused") {
  Statistics statistics(nullptr);
  const std::string message = test::error_of([&] {
    for (i64 i = 0; i < 20'000; ++i) statistics.add({std::to_string(i), "text", i + 2}, 0);
  });
  CHECK(test::contains(message, "row 10002"));
  CHECK(test::contains(message, "is this the column of the labels?"));
}

TEST_CASE("the overlaps of public splits are those that are known of them") {
  const auto folder = test::data_set("trec");
  if (folder.empty()) {
    MESSAGE("skipped, not found: trec");
    return;
  }
  CHECK(count_overlaps(load_dataset(folder.string(), 1)).test_in_train == 11);
}

}  // namespace minima
