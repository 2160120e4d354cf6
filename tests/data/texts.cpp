#include "data/texts.hpp"

#include "data/repeated_texts.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::string all_of(const std::vector<Example>& split) {
  std::string result;
  for (const Example& example : split) {
    CHECK(example.pair.empty());
    result += example.text + ";";
  }
  return result;
}

}  // namespace

TEST_CASE("plain text is a text a line; some of them are held out") {
  const test::Folder folder;
  std::string content = "\n \n";
  for (int i = 0; i < 60; ++i) content += fmt::format("line {}\r\n\n", i);
  const std::string path = folder.write("x.txt", content + "the last, without an end");
  const Dataset dataset = load_texts(path, 1);
  CHECK(dataset.train.size() == 58);
  CHECK(dataset.dev.size() == 3);
  CHECK(dataset.dev[0].text != load_texts(path, 2).dev[0].text);
}

TEST_CASE("a text that is held out is in no row to train on, whatever its case and punctuation") {
  const test::Folder folder;
  std::string content;
  for (int i = 0; i < 100; ++i) content += fmt::format("line {0}\nLine {0}.\n", i);
  for (int i = 0; i < 50; ++i) content += "again and again\n";  // too often to be held out
  const std::string path = folder.write("x.txt", content);
  for (const u64 seed : {1, 2, 3}) {
    const Dataset dataset = load_texts(path, seed);
    CHECK(dataset.dev.size() == 12);
    CHECK(dataset.train.size() == 238);
    CHECK(count_overlaps(dataset).dev_in_train == 0);
  }
  const Dataset two = load_texts(folder.write("two.txt", "a\na\nA\nb\nb\n"), 1);
  CHECK(two.dev.size() == 2);
  CHECK(test::contains(test::error_of([&] { load_texts(folder.write("one.txt", "a\nA\n"), 1); }),
                       "one.txt: has 1 different text; pre-training needs 2 at least"));
}

TEST_CASE("a file is plain text by its name's ending, capitals or small, or where that is said") {
  const test::Folder folder;
  const std::string lines = "text\na, b\nc\n";  // a table, or three texts
  const auto texts = [&](const std::string& name, const ReadOptions& read = {}) {
    const Dataset dataset = load_texts(folder.write(name, lines), 1, read);
    CHECK(dataset.dev.size() == 1);
    return dataset.train.size() + dataset.dev.size();
  };
  CHECK(texts("x.txt") == 3);
  CHECK(texts("x.TXT") == 3);
  CHECK(texts("x.text") == 2);
  CHECK(texts("x.tsv") == 2);
  for (const char* name : {"x.text", "x.tsv", "x.csv", "x"})
    CHECK(texts(name, {.plain_text = true}) == 3);
}

TEST_CASE("a table that is named .txt is not taken for plain text, unless that is said") {
  const test::Folder folder;
  for (const char* end : {"\n", "\r\n"}) {
    const std::string file =
        folder.write("x.txt", fmt::format("\xEF\xBB\xBFlabel\ttext{0}no\tone{0}yes\ttwo{0}", end));
    CHECK(test::contains(test::error_of([&] { load_texts(file, 1); }),
                         "' is the header of a table, but a file named .txt is plain text"));
    CHECK(load_texts(file, 1, {.delimiter = "tab"}).train.size() == 1);
    CHECK(all_of(load_texts(file, 1, {.plain_text = true}).train).find("label") !=
          std::string::npos);
  }
}

TEST_CASE("a folder of plain text needs a train.txt; a dev.txt is held out where it is there") {
  const test::Folder folder;
  const auto load = [&] { return load_texts(folder.path(), 1); };
  CHECK(test::contains(test::error_of(load), "has no train.txt, nor .tsv, .csv or .jsonl"));
  folder.write("train.txt", "a\nb\nc\n");
  CHECK(load().train.size() == 2);
  CHECK(load().dev.size() == 1);
  folder.write("dev.txt", "d\n");
  CHECK(all_of(load().train) == "a;b;c;");
  CHECK(all_of(load().dev) == "d;");
  folder.write("train.txt", "a\n");
  CHECK(load().train.size() == 1);
  std::filesystem::remove(folder.path() + "/dev.txt");
  CHECK(test::contains(test::error_of(load),
                       "train.txt: has 1 different text; pre-training needs 2"));
  folder.write("train.tsv", "text\na\nb\n");
  CHECK(test::contains(test::error_of(load), "has both train.tsv and train.txt; which is it?"));
  // To a classifier plain text is none of a folder's files.
  std::filesystem::remove(folder.path() + "/train.tsv");
  CHECK(test::contains(test::error_of([&] { load_dataset(folder.path(), 1); }), "no train.tsv"));
}

TEST_CASE("plain text that breaks a rule is refused with file and line, or passed over") {
  const test::Folder folder;
  const auto error = [&](const std::string& bytes, const ReadOptions& read = {}) {
    const std::string path = folder.write("x.txt", bytes);
    const std::string message = test::error_of([&] { load_texts(path, 1, read); });
    CHECK((message.empty() || test::contains(message, path)));
    return message;
  };
  CHECK(
      test::contains(error("one\ntwo\xff\n"), ":2: byte 4 of the line, 0xFF, is not valid UTF-8"));
  CHECK(test::contains(error("one\n" + std::string(2 << 20, 'x') + "\n"),
                       ":2: the line has 2097152"));
  CHECK(test::contains(error("one\n"), "has 1 different text; pre-training needs 2 at least"));
  CHECK(test::contains(error(""), "has no rows"));
  CHECK(error("one\ntwo\xff\nthree\n", {.skip_bad_rows = true}).empty());
  for (const ReadOptions& read :
       {ReadOptions{.text_column = "body"}, {.pair_column = "b"}, {.no_header = true}})
    CHECK(test::contains(error("one\ntwo\n", read), "are for tables"));
  CHECK(test::contains(test::error_of([&] { load_texts("/none.txt", 1); }), "no '/none.txt'"));
  CHECK(test::contains(test::error_of([&] { load_texts("builtin", 1, {.text_column = "body"}); }),
                       "no columns"));
}

TEST_CASE("both texts of a pair are learned from, each by itself, from a file and from a folder") {
  const test::Folder folder;
  const std::string rows = "first\tsecond\na b\tc\nd\te f\n";
  for (const char* split : {"train.tsv", "dev.tsv"}) folder.write(split, rows);
  ReadOptions read;
  read.text_column = "first";
  read.pair_column = "second";
  CHECK(all_of(load_texts(folder.path() + "/", 1, read).train) == "a b;c;d;e f;");
  const Dataset file = load_texts(folder.path() + "/train.tsv", 1, read);
  CHECK(file.train.size() + file.dev.size() == 4);
  for (const Example& text : load_texts("builtin", 1).train) CHECK(text.label == 0);
}

TEST_CASE("a table's texts need no labels, and count whatever these are") {
  const test::Folder folder;
  const std::string path =
      folder.write("x.csv", "id,text\n1,one text\n2,\"another, with a comma\"\n,a third\n");
  const Dataset dataset = load_texts(path, 1);
  CHECK(dataset.train.size() == 2);
  CHECK(dataset.dev.size() == 1);
  const Dataset numbered = load_texts(folder.write("y.csv", "3,one,text\n4,and,another\n"), 1);
  CHECK(test::contains(all_of(numbered.train) + all_of(numbered.dev), "and another;"));
}

}  // namespace minima
