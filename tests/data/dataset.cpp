#include "data/dataset.hpp"

#include <algorithm>
#include <set>

#include "core/rng.hpp"
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

TEST_CASE("of a folder's dev and test what is not there is drawn from train") {
  test::Folder folder;
  std::string rows, own;
  for (int i = 0; i < 200; ++i) rows += fmt::format("{}\ttext {}\n", i % 2 ? "a" : "b", i);
  folder.write("train.tsv", table(rows));
  const Dataset both = load_dataset(folder.path(), 3);
  CHECK(both.dev.size() == 20);
  CHECK(both.test.size() == 20);
  CHECK(both.train.size() == 160);
  CHECK(test::contains(both.origin, "dev and test drawn by seed 3"));
  folder.write("test.tsv", table("a\tthe one\nb\tthe other\n"));
  const Dataset dev = load_dataset(folder.path(), 3);
  REQUIRE(dev.test.size() == 2);
  CHECK(dev.test[0].text == "the one");
  CHECK(dev.train.size() == 180);
  CHECK(std::ranges::count(dev.dev, 0, &Example::label) == 10);
  CHECK(test::contains(dev.origin, "dev drawn by seed 3"));
  folder.write("validation.tsv", table("a\tof a public data set\n"));
  CHECK(load_dataset(folder.path(), 3).dev[0].text == "of a public data set");
  CHECK(load_dataset(folder.path(), 3).train.size() == 200);
  // The same texts as when test is drawn too.
  for (std::size_t i = 0; i < dev.dev.size(); ++i) CHECK(dev.dev[i].text == both.dev[i].text);
}

TEST_CASE("dev and test may lie apart from the training texts") {
  test::Folder folder;
  std::string rows;
  for (int i = 0; i < 200; ++i) rows += fmt::format("{}\ttext {}\n", i % 2 ? "a" : "b", i);
  const std::string all = folder.write("all.tsv", table(rows));
  const std::string held_out = folder.write("held_out.csv", "text,label\nthe one,a\nthe other,b\n");
  const Dataset test = load_dataset(all, 3, {}, {.test = held_out});
  CHECK(texts(test.test) == std::vector<std::string>{"the one", "the other"});
  CHECK(test.dev.size() == 20);
  CHECK(test.train.size() == 180);
  CHECK(test.name == "all");
  CHECK(test::contains(test.origin, fmt::format("test from {}, dev drawn by", held_out)));
  const Dataset both = load_dataset(all, 3, {}, {.dev = held_out, .test = held_out});
  CHECK(both.train.size() == 200);
  CHECK(texts(both.dev) == texts(test.test));
  good(folder);  // what a folder has is then not read
  folder.write("train.tsv", table("a\tone\nb\ttwo\n"));
  folder.write("test.tsv", "nonsense");
  const Dataset other = load_dataset(folder.path(), 1, {}, {.dev = held_out, .test = held_out});
  CHECK(texts(other.dev) == texts(test.test));
  CHECK(test::contains(test::error_of([&] { load_dataset(all, 1, {}, {.dev = "/none.csv"}); }),
                       "/none.csv: cannot be opened"));
  CHECK(test::contains(test::error_of([&] { load_dataset("builtin", 1, {}, {.dev = all}); }),
                       "--dev and --test are for files"));
}

TEST_CASE("where labels.txt holds numbers, a label is a name and never a line's number") {
  test::Folder folder;
  good(folder).write("labels.txt", "1\n2\n3\n");
  for (const char* split : {"train.tsv", "dev.tsv", "test.tsv"})
    folder.write(split, table("1\ta\n2\tb\n3\tc\n"));
  const Dataset data = load_dataset(folder.path(), 1);
  for (i64 i = 0; i < 3; ++i) CHECK(data.train[static_cast<std::size_t>(i)].label == i);
  CHECK(!Classes::of_model(data.label_names).find("0"));
  const Classes names = Classes::of_model({"bad", "good"});
  CHECK(names.find("good") == 1);
  CHECK(names.find("1") == 1);
  for (const char* none : {"2", "-1", "ba"}) CHECK(!names.find(none));
  CHECK(!Classes::of({"bad", "good"}).find("1"));
}

TEST_CASE("a number costs the same however many classes there are") {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kMostLabels; ++i) names.push_back(fmt::format("class {}", i));
  const Classes classes = Classes::of_model(names);
  i64 sum = 0;
  for (int i = 0; i < 300'000; ++i) sum += *classes.find(std::to_string(i % 10'000));
  CHECK(sum == 30 * i64{10'000} * 9'999 / 2);
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
  CHECK(Classes::of({"9", "10", "ham"}).names() == std::vector<std::string>{"10", "9", "ham"});
}

TEST_CASE("a model's classes are numbered from 0 where none of their names is a number") {
  CHECK(Classes::of_model({"no", "yes"}).find("1") == 1);
  CHECK_FALSE(Classes::of_model({"no", "yes"}).find("2"));
  CHECK_FALSE(Classes::of_model({"5", "yes"}).find("1"));
}

TEST_CASE("labels that look alike but for blanks around them and case are named") {
  CHECK(alike_labels({" a", "A", "a", "a ", "b", "c d"}) == "' a' / 'A' / 'a' / 'a '");
  CHECK(alike_labels({"\u00C9t\u00E9", "\u00E9t\u00E9\u00A0", "X", "x"}) ==
        "'X' / 'x', '\u00C9t\u00E9' / '\u00E9t\u00E9\u00A0'");
  // In another normal form, and with a zero-width space; what is not UTF-8 is itself.
  CHECK(alike_labels({"\u00E9", "e\u0301", "no", "n\u200Bo", "a\xff", "A\xff"}) ==
        "'no' / 'n\u200Bo', '\u00E9' / 'e\u0301'");
  CHECK(alike_labels({"a", "a b", "ab", "a-b", "1", "10", ""}).empty());
}

TEST_CASE("bad data are refused with file, line and reason") {
  test::Folder folder;
  SUBCASE("nothing there") { CHECK(test::contains(error_of_loading("/none"), "no '/none'")); }
  SUBCASE("training texts are missing, or too few to draw from") {
    good(folder);
    std::filesystem::remove(folder.path() + "/dev.tsv");
    CHECK(test::contains(error_of_loading(folder.path()), "train.tsv: "));
    CHECK(test::contains(error_of_loading(folder.path()), "too few to split"));
    std::filesystem::remove(folder.path() + "/train.tsv");
    CHECK(test::contains(error_of_loading(folder.path()), "has no train.tsv"));
    folder.write("train.csv.gz", "");
    CHECK(test::contains(error_of_loading(folder.path()),
                         "its train is train.csv.gz, which is compressed; unpack it first"));
    good(folder);
    CHECK(error_of_loading(folder.path()) == "");
    folder.write("valid.jsonl.xz", "");  // no reason to draw dev from train
    std::filesystem::remove(folder.path() + "/dev.tsv");
    CHECK(test::contains(error_of_loading(folder.path()), "its dev is valid.jsonl.xz"));
  }
  SUBCASE("one class only") {
    good(folder).write("train.tsv", table("0\ta\n0\tb\n"));
    CHECK(
        test::contains(error_of_loading(folder.path()), "all 2 training texts have the label '0'"));
  }
  SUBCASE("a label unseen in training") {
    good(folder).write("test.tsv", table("0\ta\n2\tb\n"));
    CHECK(test::contains(error_of_loading(folder.path()),
                         "test.tsv:3: no training text has the label '2'; a model"));
    folder.write("test.tsv", table("0\ta\n2\tb\n4\tc\n3\td\n2\te\n9\tf\n8\tg\n7\th\n6\ti\n"));
    CHECK(test::contains(
        error_of_loading(folder.path()),
        "test.tsv:3: no training text has the label '2', nor '3', '4', '6', '7', '8' "
        "and 1 more; a model"));
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
  SUBCASE("more labels than a column of labels has") {
    std::string rows, names;
    for (int i = 0; i <= 10'000; ++i) {
      rows += fmt::format("l{0}\ttext {0}\n", i);
      names += fmt::format("l{}\n", i);
    }
    const std::string file = folder.write("ids.tsv", table(rows));
    CHECK(test::contains(error_of_loading(file), "ids.tsv: has 10001 different labels"));
    good(folder).write("train.tsv", table(rows));
    CHECK(test::contains(error_of_loading(folder.path()), "train.tsv: has 10001 different labels"));
    good(folder).write("labels.txt", names);
    CHECK(test::contains(error_of_loading(folder.path()), "labels.txt: names 10001 classes"));
  }
  SUBCASE("too little to split") {
    const std::string file = folder.write("few.tsv", table("0\ta\n1\tb\n"));
    CHECK(test::contains(error_of_loading(file),
                         "few.tsv: too few to split: 2 rows, 2 different texts (but for case"));
    std::string same;
    for (int i = 0; i < 60; ++i) same += fmt::format("{}\tthe same\n", i % 2);
    CHECK(test::contains(error_of_loading(folder.write("same.tsv", table(same))),
                         "60 rows, 1 different text (but"));
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
  std::string rows;  // a tenth, rounded
  for (int i = 0; i < 29; ++i) rows += fmt::format("{}\ttext {}\n", i < 14 ? "a" : "b", i);
  const Dataset rounded = load_dataset(folder.write("rounded.tsv", table(rows)), 1);
  CHECK(std::ranges::count(rounded.dev, 0, &Example::label) == 1);
  CHECK(std::ranges::count(rounded.dev, 1, &Example::label) == 2);
}

TEST_CASE(
    "where no text is repeated, the seed shuffles the rows of each label, and the first are dev "
    "and test") {
  const test::Folder folder;
  const Dataset data = load_dataset(uneven_file(folder), 7);
  std::vector<int> ham;
  for (int i = 0; i < 300; ++i)
    if (i % 3 < 2) ham.push_back(i);
  RandomSequence(7, "split/ham").shuffle(ham);
  const auto expected = [&](int begin) {
    std::vector<int> numbers(ham.begin() + begin, ham.begin() + begin + 20);
    std::ranges::sort(numbers);
    std::vector<std::string> result;
    for (const int i : numbers) result.push_back(fmt::format("text {}", i));
    return result;
  };
  const auto of_ham = [&](std::vector<Example> split) {
    std::erase_if(split, [](const Example& example) { return example.label != 1; });
    return texts(split);
  };
  CHECK(of_ham(data.dev) == expected(0));
  CHECK(of_ham(data.test) == expected(20));
}

TEST_CASE("a repeated text of a file is in one split, whatever its case, punctuation and label") {
  const test::Folder folder;
  for (const u64 seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    CAPTURE(seed);
    std::string rows;
    for (int i = 0; i < 200; ++i)  // each text twice, and one of ten with both labels
      for (const char* form : {"{}\tText {}\n", "{}\ttext, {}!\n"})
        rows += fmt::format(fmt::runtime(form), (i + (i % 10 == 0 && form[3] == 'T')) % 2, i);
    for (int i = 0; i < 100; ++i) rows += "0\tthe same\n";
    rows += "2\ttext 3\n";  // a label that no text has first
    const Dataset data = load_dataset(folder.write("repeated.tsv", table(rows)), seed);
    const Overlaps overlaps = count_overlaps(data);
    CHECK(overlaps.dev_in_train == 0);
    CHECK(overlaps.test_in_train == 0);
    CHECK(overlaps.test_in_dev == 0);
    for (const auto* split : {&data.dev, &data.test}) {
      CHECK(split->size() >= 48);  // 50, but for a text that is taken back
      CHECK(split->size() <= 52);
      CHECK(std::ranges::count(texts(*split), "the same") == 0);
    }
    CHECK(std::ranges::count(texts(data.train), "the same") == 100);
    CHECK(data.label_names.size() == 3);
  }
  // Three of everything, so that a share is less than a text.
  std::string rows;
  for (int i = 0; i < 18; ++i) rows += fmt::format("{}\ttext {}\n", i % 2, i / 6 * 2 + i % 2);
  const Dataset data = load_dataset(folder.write("few.tsv", table(rows)), 1);
  CHECK(data.train.size() == 6);
  CHECK(data.dev.size() == 6);
  CHECK(count_overlaps(data).test_in_train == 0);
}

TEST_CASE("three texts of a label are in every part, however often each is repeated") {
  const test::Folder folder;
  for (const std::vector<int>& rows : std::vector<std::vector<int>>{
           {1, 1, 100}, {1, 10, 10}, {1, 100, 100}, {7, 7, 7}, {1, 2, 3, 100}}) {
    CAPTURE(rows.size());
    CAPTURE(rows[1]);
    std::string table = "label\ttext\n";
    for (const char* label : {"a", "b"})
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (int copy = 0; copy < rows[i]; ++copy) table += fmt::format("{0}\t{0} {1}\n", label, i);
    const std::string file = folder.write("heavy.tsv", table);
    for (const u64 seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
      CAPTURE(seed);
      const Dataset data = load_dataset(file, seed);
      for (const auto* part : {&data.train, &data.dev, &data.test})
        for (const i64 label : {0, 1}) CHECK(std::ranges::count(*part, label, &Example::label) > 0);
      if (rows.back() > rows[1])  // the heaviest stays
        CHECK(std::ssize(data.train) >= 2 * rows.back());
    }
  }
}

TEST_CASE("three texts of a label are in every part, also where another label has them first") {
  const test::Folder folder;
  for (const u64 seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    CAPTURE(seed);
    std::string rows;
    for (int i = 0; i < 100; ++i) rows += fmt::format("{}\ttext {}\n", i % 2 ? "a" : "b", i);
    for (int i = 0; i < 4; ++i) rows += fmt::format("c\tText {}!\n", i);
    for (const char* row : {"d\tone", "d\ttwo", "d\tthree", "e\tOne", "e\tTwo", "e\tfour"})
      rows += row + std::string("\n");  // of d none can be spared for e
    const Dataset data = load_dataset(folder.write("both.tsv", table(rows)), seed);
    for (const auto* part : {&data.train, &data.dev, &data.test})
      for (const i64 label : {0, 1, 2, 3})
        CHECK(std::ranges::count(*part, label, &Example::label) > 0);
    CHECK(count_overlaps(data).test_in_train == 0);
  }
}

TEST_CASE("a labels.txt beside a file names its classes, unless it does not know them all") {
  const test::Folder folder;
  std::string rows;
  for (int i = 0; i < 12; ++i) rows += fmt::format("{}\ttext {}\n", i % 2 + 1, i);
  const std::string file = folder.write("numbers.tsv", table(rows));
  folder.write("labels.txt", "zero\none\ntwo\n");
  CHECK(load_dataset(file, 1).label_names == std::vector<std::string>{"zero", "one", "two"});
  constexpr const char* kCounted = "numbers count its lines from 0";
  CHECK(test::contains(load_dataset(file, 1).origin, kCounted));
  for (const char* names : {"0\n1\n2\n", "9\n1\n2\n"}) {  // names, and no line's numbers
    folder.write("labels.txt", names);
    CHECK_FALSE(test::contains(load_dataset(file, 1).origin, kCounted));
  }
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
  data.dev = {{"what is THIS", 0}, {"what is this", 0}, {"new", 1}};
  data.test = {{"what, is this!", 0}, {"New.", 1}, {"what is", 0}};
  const Overlaps overlaps = count_overlaps(data);
  CHECK(overlaps.dev_in_train == 2);
  CHECK(overlaps.test_in_train == 1);
  CHECK(overlaps.test_in_dev == 2);
  CHECK(overlaps.conflicts.texts == 0);
  data.test.push_back({"another ONE", 0});
  data.train.push_back({"another, one", 1});
  CHECK(count_overlaps(data).conflicts.texts == 1);
  CHECK(count_overlaps(data).conflicts.rows == 3);
  CHECK(count_overlaps(data).exact_conflicts.texts == 0);
  data.dev.push_back({"another, one", 0});
  CHECK(count_overlaps(data).exact_conflicts.texts == 1);
  CHECK(count_overlaps(data).exact_conflicts.rows == 2);
}

TEST_CASE("texts without a word are told apart by what they have") {
  Dataset data;
  data.train = {{":)", 1}, {"!!!", 0}, {":)", 1, "..."}};
  data.dev = {{":(", 0}, {"???", 1}, {":)", 0, "?"}};
  data.test = {{":)", 1}, {"good :(", 0}, {"Good :)", 1}};
  const Overlaps overlaps = count_overlaps(data);
  CHECK(overlaps.dev_in_train == 0);
  CHECK(overlaps.test_in_train == 1);
  CHECK(overlaps.conflicts.texts == 1);  // "good", which is two texts to a model
  CHECK(overlaps.exact_conflicts.texts == 0);
  CHECK(rows_of_texts(data.dev).size() == 3);
}

TEST_CASE("texts that differ in an accent or a vowel sign are different ones") {
  Dataset data;
  data.train = {{"el ano", 0}, {"\u05e1\u05b5\u05e4\u05b6\u05e8", 0}, {"\u0e01\u0e34\u0e19", 1}};
  data.dev = {
      {"el A\u00d1O", 0}, {"\u05e1\u05b7\u05e4\u05bc\u05b8\u05e8", 0}, {"\u0e01\u0e31\u0e19", 1}};
  data.test = {{"El a\u00f1o.", 0}};
  const Overlaps overlaps = count_overlaps(data);
  CHECK(overlaps.dev_in_train == 0);
  CHECK(overlaps.test_in_train == 0);
  CHECK(overlaps.test_in_dev == 1);  // it differs in case and punctuation
}

TEST_CASE("texts of over-long words that differ in their last letters are different ones") {
  const std::string same(149, 'A');
  Dataset data;
  data.train = {{same + 'C', 0}};
  data.dev = {{same + 'G', 1}};
  data.test = {{same + "c!", 0}};
  const Overlaps overlaps = count_overlaps(data);
  CHECK(overlaps.dev_in_train == 0);
  CHECK(overlaps.test_in_train == 1);  // it differs in case and punctuation
  CHECK(overlaps.conflicts.texts == 0);
  CHECK(without_case_and_punctuation(same + 'C').size() == 150);
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
      const std::string why = error.what();
      const bool none_here = test::contains(why, "there is no apt-cache here") ||
                             test::contains(why, "lists no packages") ||
                             test::contains(why, "no section has 200 packages");
      CHECK_MESSAGE(none_here, why);
      MESSAGE("skipped: " << why);
    }
  }
}

}  // namespace minima
