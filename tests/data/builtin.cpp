// The project's own texts: enough of them, no copies between splits, neither trivial nor hopeless.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "core/error.hpp"
#include "data/naive_bayes.hpp"
#include "data/repeated_texts.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

using Words = std::vector<std::string>;

Words words_of(const std::string& text) {
  std::istringstream stream(without_case_and_punctuation(text));
  return {std::istream_iterator<std::string>(stream), {}};
}

std::set<std::string> trigrams(const Words& words) {
  std::set<std::string> result;
  for (std::size_t i = 0; i + 2 < words.size(); ++i)
    result.insert(words[i] + " " + words[i + 1] + " " + words[i + 2]);
  return result;
}

/// The size of the intersection over that of the union; 0 where both are empty.
double jaccard(const std::set<std::string>& a, const std::set<std::string>& b) {
  const auto common = static_cast<double>(
      std::ranges::count_if(a, [&](const std::string& s) { return b.contains(s); }));
  const double all = static_cast<double>(a.size() + b.size()) - common;
  return all > 0 ? common / all : 0;
}

}  // namespace

TEST_CASE("the built-in texts are at least 900, in six classes, each with a fair share") {
  const Dataset data = load_dataset("builtin", 1);
  CHECK(data.train.size() + data.dev.size() + data.test.size() >= 900);
  CHECK(data.label_names.size() == 6);
  for (const auto* split : {&data.train, &data.dev, &data.test}) {
    std::map<i64, std::size_t> count;
    for (const Example& example : *split) ++count[example.label];
    CHECK(count.size() == 6);
    for (const auto& [label, n] : count) {
      CAPTURE(data.label_names[label]);
      CHECK(n * 12 >= split->size());
    }
  }
}

TEST_CASE("no built-in text is a near-duplicate of one in another split") {
  const Dataset data = load_dataset("builtin", 1);
  const std::vector<Example>* const splits[] = {&data.train, &data.dev, &data.test};

  std::map<std::string, int> frequency;
  for (const auto* split : splits)
    for (const Example& example : *split)
      for (const std::string& word : words_of(example.text)) ++frequency[word];
  std::vector<std::pair<int, std::string>> ranked;
  for (const auto& [word, count] : frequency) ranked.emplace_back(count, word);
  std::ranges::sort(ranked, std::greater{});
  std::set<std::string> common;
  for (std::size_t i = 0; i < 50; ++i) common.insert(ranked[i].second);

  struct Shape {
    const std::string* text;
    std::set<std::string> trigrams, words;
  };
  std::vector<Shape> shapes[3];
  for (int s = 0; s < 3; ++s)
    for (const Example& example : *splits[s]) {
      const Words words = words_of(example.text);
      Shape shape{&example.text, trigrams(words), {}};
      for (const std::string& word : words)
        if (!common.contains(word)) shape.words.insert(word);
      shapes[s].push_back(std::move(shape));
    }
  for (int s = 0; s < 3; ++s)
    for (int t = s + 1; t < 3; ++t)
      for (const Shape& a : shapes[s])
        for (const Shape& b : shapes[t])
          if (jaccard(a.trigrams, b.trigrams) > 0.2 || jaccard(a.words, b.words) > 0.5)
            FAIL_CHECK(*a.text << "\nis too close to\n" << *b.text);
}

TEST_CASE("counting words finds 60 to 92 percent of the built-in test labels") {
  const Dataset data = load_dataset("builtin", 1);
  const double accuracy = NaiveBayes(data.train, 6).accuracy(data.test);
  MESSAGE("naive Bayes: " << accuracy);
  CHECK(accuracy >= 0.60);
  CHECK(accuracy <= 0.92);
}

TEST_CASE("naive Bayes computes the textbook's worked example") {
  // Manning, Raghavan, Schütze 2008, table 13.1 and example 13.1.
  const std::vector<Example> train = {{"Chinese Beijing Chinese", 1},
                                      {"Chinese Chinese Shanghai", 1},
                                      {"Chinese Macao", 1},
                                      {"Tokyo Japan Chinese", 0}};
  const NaiveBayes model(train, 2);
  const auto class_of = [&](const char* text) { return model.predict({text, 0}); };
  CHECK(class_of("Chinese Chinese Chinese Tokyo Japan") == 1);
  // With n times "Chinese": 3/4 · (3/7)ⁿ · (1/14)² against 1/4 · (2/9)ⁿ⁺²; it tips from 1 to 2.
  CHECK(class_of("Chinese Chinese Tokyo Japan") == 1);
  CHECK(class_of("Chinese Tokyo Japan") == 0);
  CHECK(class_of("Osaka") == 1);  // nothing known: the larger class
  CHECK_THROWS_AS(NaiveBayes({}, 2), Error);
  for (const i64 label : {-1, 2})
    CHECK_THROWS_WITH_AS(NaiveBayes({{"a", label}}, 2), doctest::Contains("of 2 classes"), Error);
  // Without a word anywhere the most frequent class is all that is known.
  CHECK(NaiveBayes({{"!", 0}, {"?", 1}, {".", 1}}, 2).predict({"words", 0}) == 1);
}

TEST_CASE("naive Bayes counts the words of both texts of a pair") {
  const std::vector<Example> pairs = {
      {"same", 0, "red"}, {"same", 1, "blue"}, {"same", 0, "red"}, {"same", 1, "blue"}};
  CHECK(NaiveBayes(pairs, 2).accuracy(pairs) == 1);
}

}  // namespace minima
