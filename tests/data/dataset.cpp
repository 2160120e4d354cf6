#include "data/dataset.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "data/classes.hpp"
#include "data/repeated_texts.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::string table(const std::string& rows) { return "label\ttext\n" + rows; }

/// A folder with three good splits, of which a test replaces one.
test::Folder& good(test::Folder& folder) {
  folder.write("train.tsv", table("0\tone\n1\ttwo\n"));
  folder.write("dev.tsv", table("0\tthree\n"));
  folder.write("test.tsv", table("1\tfour\n"));
  return folder;
}

std::string error_of_loading(const std::string& spec) {
  return test::error_of([&] { load_dataset(spec, 1); });
}

std::vector<std::string> texts(const std::vector<Example>& split) {
  std::vector<std::string> result;
  for (const Example& example : split) result.push_back(example.text);
  return result;
}

/// 300 rows: 200 of "ham", 90 of "spam", 10 of "eggs".
std::string uneven_file(const test::Folder& folder) {
  std::string rows;
  for (int i = 0; i < 300; ++i)
    rows += fmt::format("{}\ttext {}\n", i % 3 < 2 ? "ham" : i % 30 == 2 ? "eggs" : "spam", i);
  return folder.write("uneven.tsv", table(rows));
}

}  // namespace

TEST_CASE("a folder of three splits is loaded, its classes named by labels.txt") {
  test::Folder folder;
  good(folder).write("labels.txt", "bad\ngood\n");
  folder.write("dev.tsv", table("good\tby name\n0\tby number\n"));
  const Dataset data = load_dataset(folder.path() + "/", 1);
  CHECK(data.label_names == std::vector<std::string>{"bad", "good"});
  CHECK(data.name == std::filesystem::path(folder.path()).filename());
  CHECK(data.train[1].text == "two");
  CHECK(data.train[1].label == 1);
  CHECK(data.dev[0].label == 1);
  CHECK(data.dev[1].label == 0);
}

TEST_CASE("where labels.txt holds numbers, a label is a name and never a line's number") {
  test::Folder folder;
  good(folder).write("labels.txt", "1\n2\n3\n");
  for (const char* split : {"train.tsv", "dev.tsv", "test.tsv"})
    folder.write(split, table("1\ta\n2\tb\n3\tc\n"));
  const Dataset data = load_dataset(folder.path(), 1);
  for (i64 i = 0; i < 3; ++i) CHECK(data.train[static_cast<std::size_t>(i)].label == i);
  CHECK(!class_of("0", data.label_names));
  CHECK(class_of("1", {"bad", "good"}) == 1);
  CHECK(!class_of("2", {"bad", "good"}));
}

TEST_CASE("without labels.txt the classes are the training labels, numbers in their order") {
  test::Folder folder;
  good(folder);
  folder.write("train.tsv", table("10\ta\n9\tb\n-1\tc\n"));
  folder.write("dev.tsv", table("9\td\n"));
  folder.write("test.tsv", table("-1\te\n"));
  CHECK(load_dataset(folder.path(), 1).label_names == std::vector<std::string>{"-1", "9", "10"});
  folder.write("train.tsv", table("ham\ta\n9\tb\n-1\tc\n"));
  CHECK(load_dataset(folder.path(), 1).label_names == std::vector<std::string>{"-1", "9", "ham"});
}

TEST_CASE("bad data are refused with file, line and reason") {
  test::Folder folder;
  SUBCASE("nothing there") { CHECK(test::contains(error_of_loading("/none"), "no '/none'")); }
  SUBCASE("a split is missing") {
    good(folder);
    std::filesystem::remove(folder.path() + "/dev.tsv");
    CHECK(test::contains(error_of_loading(folder.path()), "has no dev.tsv"));
  }
  SUBCASE("one class only") {
    good(folder).write("train.tsv", table("0\ta\n0\tb\n"));
    CHECK(
        test::contains(error_of_loading(folder.path()), "all 2 training texts have the label '0'"));
  }
  SUBCASE("a label unseen in training") {
    good(folder).write("test.tsv", table("0\ta\n2\tb\n"));
    CHECK(test::contains(error_of_loading(folder.path()),
                         "test.tsv:3: no training text has the label '2'"));
  }
  SUBCASE("a named class unseen in training") {
    good(folder).write("labels.txt", "a\nb\nc\n");
    folder.write("dev.tsv", table("c\tx\n"));
    CHECK(test::contains(error_of_loading(folder.path()),
                         "dev.tsv:2: no training text has the label 'c'"));
  }
  SUBCASE("a label that labels.txt does not name") {
    good(folder).write("labels.txt", "a\nb\n");
    folder.write("dev.tsv", table("7\tx\n"));
    CHECK(test::contains(error_of_loading(folder.path()), "dev.tsv:2: the label '7' is neither"));
  }
  SUBCASE("labels.txt itself") {
    good(folder).write("labels.txt", "a\n\nb\n");
    CHECK(test::contains(error_of_loading(folder.path()), "labels.txt:2: the line is empty"));
    folder.write("labels.txt", "a\na\n");
    CHECK(test::contains(error_of_loading(folder.path()), "same name"));
    folder.write("labels.txt", "");
    CHECK(test::contains(error_of_loading(folder.path()), "is empty"));
  }
  SUBCASE("too little to split") {
    const std::string file = folder.write("few.tsv", table("0\ta\n1\tb\n"));
    CHECK(test::contains(error_of_loading(file), "too few to split"));
  }
}

TEST_CASE("a file is split into disjoint parts with the labels in equal shares") {
  const test::Folder folder;
  const Dataset data = load_dataset(uneven_file(folder), 1);
  CHECK(data.name == "uneven");
  CHECK(data.label_names == std::vector<std::string>{"eggs", "ham", "spam"});
  const auto counts = [](const std::vector<Example>& split) {
    std::vector<int> result(3);
    for (const Example& example : split) ++result[example.label];
    return result;
  };
  CHECK(counts(data.train) == std::vector<int>{8, 160, 72});
  CHECK(counts(data.dev) == std::vector<int>{1, 20, 9});
  CHECK(counts(data.test) == std::vector<int>{1, 20, 9});
  std::set<std::string> all;
  for (const auto* split : {&data.train, &data.dev, &data.test})
    for (const Example& example : *split) all.insert(example.text);
  CHECK(all.size() == 300);
}

TEST_CASE("a labels.txt beside a file names its classes, unless it does not know them all") {
  const test::Folder folder;
  std::string rows;
  for (int i = 0; i < 12; ++i) rows += fmt::format("{}\ttext {}\n", i % 2 + 1, i);
  const std::string file = folder.write("numbers.tsv", table(rows));
  folder.write("labels.txt", "zero\none\ntwo\n");
  CHECK(load_dataset(file, 1).label_names == std::vector<std::string>{"zero", "one", "two"});
  folder.write("labels.txt", "one\ntwo\n");  // counted from 0: there is no 2
  const Dataset data = load_dataset(file, 1);
  CHECK(data.label_names == std::vector<std::string>{"1", "2"});
  CHECK(test::contains(data.origin, "labels.txt has no class '2' and is not for this file"));
}

TEST_CASE("options of files are refused for texts that are in none") {
  for (const char* name : {"builtin", "debian"})
    CHECK(test::contains(test::error_of([&] { load_dataset(name, 1, {.text_column = "body"}); }),
                         "has no columns to choose"));
}

TEST_CASE("a split depends on the seed alone") {
  const test::Folder folder;
  const std::string file = uneven_file(folder);
  CHECK(texts(load_dataset(file, 1).test) == texts(load_dataset(file, 1).test));
  CHECK(texts(load_dataset(file, 1).test) != texts(load_dataset(file, 2).test));
}

TEST_CASE("texts that occur in two splits are counted, ignoring case and punctuation") {
  Dataset data;
  data.train = {{"What is this?", 0}, {"Another one", 1}};
  data.dev = {{"what is THIS", 0}, {"new", 1}};
  data.test = {{"what, is this!", 0}, {"New.", 1}, {"what is", 0}};
  const Overlaps overlaps = count_overlaps(data);
  CHECK(overlaps.dev_in_train == 1);
  CHECK(overlaps.test_in_train == 1);
  CHECK(overlaps.test_in_dev == 2);
}

TEST_SUITE("golden") {
  TEST_CASE("the public data sets load with their sizes, classes and known overlaps") {
    struct Expected {
      const char* name;
      std::size_t train, dev, test, classes;
      i64 test_in_train;
    };
    for (const Expected& expected : {Expected{"sst2", 6920, 872, 1821, 2, 2},
                                     {"trec", 4952, 500, 500, 6, 11},
                                     {"trec50", 4952, 500, 500, 50, 11},
                                     {"agnews", 6000, 800, 800, 4, 0}}) {
      const auto folder = test::data_set(expected.name);
      if (folder.empty()) {
        MESSAGE("skipped, not found: " << expected.name);
        continue;
      }
      CAPTURE(expected.name);
      const Dataset data = load_dataset(folder.string(), 1);
      CHECK(data.train.size() == expected.train);
      CHECK(data.dev.size() == expected.dev);
      CHECK(data.test.size() == expected.test);
      CHECK(data.label_names.size() == expected.classes);
      CHECK(count_overlaps(data).test_in_train == expected.test_in_train);
    }
  }

  TEST_CASE("the machine's package list makes a data set, or says why not") {
    try {
      const Dataset data = load_dataset("debian", 1);
      MESSAGE(data.origin);
      CHECK(data.label_names.size() >= 2);
      CHECK(data.train.size() + data.dev.size() + data.test.size() <= 60000);
      CHECK(count_overlaps(data).test_in_train == 0);
    } catch (const Error& error) {
      MESSAGE("skipped: " << error.what());
    }
  }
}

}  // namespace minima
