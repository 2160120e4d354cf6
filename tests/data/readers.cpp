#include "data/readers/debian.hpp"
#include "data/readers/tsv.hpp"
#include "data/utf8.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::string tsv_error(const std::string& text) {
  const std::string message = test::error_of([&] { parse_tsv(text, "x.tsv"); });
  CAPTURE(message);
  CHECK(message.starts_with("x.tsv:"));
  return message;
}

}  // namespace

TEST_CASE("a table of labels and texts is read as it is, without quoting or escapes") {
  const auto rows = parse_tsv("label\ttext\n0\tsay \"hi\" \\t\nspam\t\n", "x.tsv");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].label == "0");
  CHECK(rows[0].text == "say \"hi\" \\t");
  CHECK(rows[0].line == 2);
  CHECK(rows[1].label == "spam");
  CHECK(rows[1].text.empty());
}

TEST_CASE("a byte order mark, CRLF and a missing last line end are accepted") {
  const auto rows = parse_tsv("\xEF\xBB\xBFlabel\ttext\r\n0\ta\r\n1\tb", "x.tsv");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].text == "a");
  CHECK(rows[1].text == "b");
}

TEST_CASE("a bad table is refused with file, line and reason") {
  CHECK(test::contains(tsv_error(""), "is empty"));
  CHECK(test::contains(tsv_error("label\ttext\n"), "no rows"));
  CHECK(test::contains(tsv_error("0\tgood\n"), "x.tsv:1: the header is '0\tgood'"));
  CHECK(test::contains(tsv_error("label\ttext\n0\ta\nno tab\n"), "x.tsv:3: the row has no tab"));
  CHECK(test::contains(tsv_error("label\ttext\n0\ta\n\n1\tb\n"), "x.tsv:3: the row has no tab"));
  CHECK(test::contains(tsv_error("label\ttext\n\ta\n"), "x.tsv:2: the row has no label"));
  CHECK(test::contains(tsv_error("label\ttext\n0\ta\tb\n"), "x.tsv:2: the row has more than one"));
  CHECK(
      test::contains(tsv_error("label\ttext\n0\tcaf\xE9\n"), "x.tsv:2: byte 6 of the line, 0xE9"));
  CHECK(test::contains(tsv_error("label\ttext\n0\t" + std::string(10 << 20, 'a') + "\n"),
                       "x.tsv:2: the line has 10485762 bytes"));
}

TEST_CASE("a message quotes the beginning of a long line, cut between characters") {
  std::string line;
  for (int i = 0; i < 100; ++i) line += "\u4E2D";
  const std::string message = tsv_error("label\ttext\n" + line + "\n");
  CHECK(find_invalid_utf8(message) == std::string::npos);
}

TEST_CASE("a missing file and a folder are refused by name") {
  const test::Folder folder;
  CHECK(test::contains(test::error_of([&] { read_tsv(folder.path() + "/none.tsv"); }),
                       "none.tsv: cannot be opened: No such file"));
  CHECK(test::contains(test::error_of([&] { read_tsv(folder.path()); }), "is a folder"));
}

TEST_CASE("a package list yields descriptions and sections") {
  const auto rows = parse_package_list(
      "Package: a\nDescription: first line\n more of it\n .\n a paragraph\nSection: contrib/games\n"
      "\n"
      "Package: b\nSection: libs\n"  // no description
      "\n"
      "Package: c\nSection: libs\nDescription-en: only this\nTag: x,\n y\n");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].text == "first line more of it a paragraph");
  CHECK(rows[0].label == "games");
  CHECK(rows[1].text == "only this");
  CHECK(rows[1].label == "libs");
  CHECK(parse_package_list("").empty());
}

TEST_CASE("a long description is cut after a word") {
  std::string text = "Section: libs\nDescription: ";
  for (int i = 0; i < 200; ++i) text += "word ";
  const auto rows = parse_package_list(text);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].text.size() == 399);
  CHECK(rows[0].text.ends_with("word"));
}

}  // namespace minima
