#include "core/text/utf8.hpp"
#include "data/dataset.hpp"
#include "data/readers/debian.hpp"
#include "data/readers/lines.hpp"
#include "data/readers/notes.hpp"
#include "data/readers/reader.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::vector<Row> tsv(const std::string& text) { return parse_rows(text, Format::tsv, "x.tsv"); }
std::vector<Row> csv(const std::string& text, const ReadOptions& options = {}) {
  return parse_rows(text, Format::csv, "x.csv", options);
}

std::string tsv_error(const std::string& text) {
  const std::string message = test::error_of([&] { tsv(text); });
  CAPTURE(message);
  CHECK(message.starts_with("x.tsv:"));
  return message;
}

}  // namespace

TEST_CASE("a table of labels and texts is read as it is, without quoting or escapes") {
  const auto rows = tsv("label\ttext\n0\tsay \"hi\" \\t\nspam\t\n");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].label == "0");
  CHECK(rows[0].text == "say \"hi\" \\t");
  CHECK(rows[0].line == 2);
  CHECK(rows[1].label == "spam");
  CHECK(rows[1].text.empty());
}

TEST_CASE("a file's format is told by its name's ending, capitals or small") {
  for (const char* name : {"a.csv", "a.CSV", "a.tsv.Csv"}) CHECK(format_of(name) == Format::csv);
  for (const char* name : {"a.jsonl", "a.JSONL", "a.ndjson"})
    CHECK(format_of(name) == Format::jsonl);
  for (const char* name : {"a.tsv", "csv", "a.csv/b"}) CHECK(format_of(name) == Format::tsv);
}

TEST_CASE("a byte order mark, CRLF and a missing last line end are accepted") {
  const auto rows = tsv("\xEF\xBB\xBFlabel\ttext\r\n0\ta\r\n1\tb");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].text == "a");
  CHECK(rows[1].text == "b");
}

TEST_CASE(
    "a quoted field holds commas, quotes and line ends as they are; a backslash is no escape") {
  const auto rows = csv("text,label\r\n\"a, \"\"b\"\"\r\nc\",1\r\n\\,\"2\"\r\n\"\",3");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].text == "a, \"b\"\r\nc");
  CHECK(rows[0].label == "1");
  CHECK(rows[1].text == "\\");
  CHECK(rows[1].line == 4);  // the first row takes two lines
  CHECK(rows[2].text.empty());
}

TEST_CASE(
    "columns are found by name, wherever they stand, and by number where there is no header") {
  const ReadOptions named = {.label_column = "y", .text_column = "title,body", .pair_column = "q"};
  const auto rows = csv("q,body,x,y,title\n1,2,3,4,5\n", named);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].label == "4");
  CHECK(rows[0].text == "5 2");
  CHECK(rows[0].pair == "1");
  const auto json = parse_rows("{\"q\": \"1\", \"title\": \"5\", \"y\": 4, \"body\": \"2\"}",
                               Format::jsonl, "x.jsonl", named);
  CHECK(json[0].text == "5 2");
  CHECK(json[0].pair == "1");
  // What a list of names means is decided by the first row.
  const auto later = parse_rows(
      "{\"label\": 1, \"a\": \"x\", \"b\": \"y\"}\n"
      "{\"label\": 1, \"a\": \"x\", \"b\": \"y\", \"a,b\": \"z\"}",
      Format::jsonl, "x.jsonl", {.text_column = "a,b"});
  CHECK(later[1].text == "x y");
  const auto numbered =
      csv("a,b,c\n", {.label_column = "3", .text_column = "2", .no_header = true});
  CHECK(numbered[0].label == "c");
  CHECK(numbered[0].text == "b");
  const auto usual = csv("a,b,c\n", {.pair_column = "2", .no_header = true});
  CHECK(usual[0].label == "a");
  CHECK(usual[0].text == "c");
  CHECK(usual[0].pair == "b");
  const auto found = csv("3,title,text\n4,a,b\n");  // a number is no column's name
  REQUIRE(found.size() == 2);
  CHECK(found[1].text == "a b");
}

TEST_CASE("blank lines at a file's end are passed over, in a table of texts alone everywhere") {
  for (const char* end : {"\n", "\n\n", " \n\r\n  ", "\r\n"}) {
    CAPTURE(std::string(end));
    CHECK(tsv(std::string("label\ttext\n0\ta\n") + end).size() == 1);
    CHECK(csv(std::string("label,text\n0,a\n") + end).size() == 1);
    CHECK(parse_rows(std::string("{\"label\": 0, \"text\": \"a\"}\n") + end, Format::jsonl,
                     "x.jsonl", {})
              .size() == 1);
  }
  test::Folder folder;
  const std::string rows = "label\ttext\n0\ta\n";
  // More than is read at once, and more than a file ends with.
  CHECK(read_rows(folder.write("long.tsv", rows + std::string(600'000, '\n'))).size() == 1);
  CHECK_THROWS_AS(read_rows(folder.write("longer.tsv", rows + std::string(2'000'000, '\n'))),
                  Error);
  const auto skipping =
      open_rows(folder.write("gaps.tsv", rows + std::string(300'000, '\n') + "1\tb\n\n"),
                {.skip_bad_rows = true});
  CHECK(all_rows(*skipping).size() == 2);
  CHECK(skipping->skipped() == 300'000);
  CHECK(csv("text\na\n\nb\n\n", {.label_column = ""}).size() == 2);
}

TEST_CASE("a header under --no-header is told of") {
  const auto note = [](const std::string& text, const std::string& label = "label") {
    const auto rows =
        open_rows(text, Format::csv, "x.csv", {.label_column = label, .no_header = true});
    all_rows(*rows);
    return rows->note();
  };
  CHECK(test::contains(note("label,text\n0,a\n"), "has the names of columns: is it a header?"));
  CHECK(!test::contains(note("0,text\n0,a\n"), "is it a header?"));
  CHECK(test::contains(note("id,text\n0,a\n", ""), "is it a header?"));
  CHECK(note("a,b,c,d,e,f,g,h,i,j,k,l\n") ==
        "no header: the label is column 1, the text is column 2, 3, 4, 5, 6, 7, 8, 9 and 3 more");
}

TEST_CASE("a TSV whose fields look quoted is taken as it stands, and told of") {
  const auto note = [](const std::string& rows, const ReadOptions& options = {}) {
    const std::string text = "label\ttext\n" + rows;
    const auto reader = open_rows(text, Format::tsv, "x.tsv", options);
    all_rows(*reader);
    return reader->note();
  };
  const std::string quoted = "a\tb\n0\t\"say \"\"yes\"\" twice\"\n1\t\"\"\"no\"\"\"\n";
  CHECK(note(quoted) ==
        "2 rows have a field with doubled quotes in quotes, the first in line 3: they are taken as "
        "they stand; where fields stand in quotes, say --delimiter tab");
  CHECK(test::contains(note(quoted, {.no_header = true}), "is it a header?; 2 rows have"));
  CHECK(note(quoted, {.delimiter = "tab"}).empty());
  for (const char* raw : {"\"yes\"", "\"\"", "\"\"yes\"\"", "\"a \"\"b\"\" c", "\"\"a\" \"b\"\""})
    CHECK(note(std::string("0\t") + raw + "\n").empty());
}

TEST_CASE("a delimiter of one's own parts fields by the rules of CSV") {
  for (const auto& [given, c] :
       {std::pair{";", ';'}, {"tab", '\t'}, {"\\t", '\t'}, {"|", '|'}, {",", ','}}) {
    CAPTURE(given);
    std::string table = "id;text;label\n1;\"a \"\"b\"\"; c\nd\";x\n2;e, f;y\n";
    std::ranges::replace(table, ',', '.');
    std::ranges::replace(table, ';', c);
    for (const Format format : {Format::tsv, Format::csv}) {
      const auto rows = parse_rows(table, format, "x", {.delimiter = given});
      REQUIRE(rows.size() == 2);
      CHECK(rows[0].text == fmt::format("a \"b\"{} c\nd", c));
      CHECK(rows[0].label == "x");
      CHECK(rows[1].text == "e. f");
    }
  }
  for (const char* given : {";;", "\"", "\n", "\x01", "a", "1", "\xC3\xA4", "semicolon"})
    CHECK(test::contains(test::error_of([&] {
                           parse_rows("label;text\na;b\n", Format::csv, "x", {.delimiter = given});
                         }),
                         "it must be a punctuation character"));
  CHECK(test::contains(
      test::error_of([] { parse_rows("{}", Format::jsonl, "x", {.delimiter = ";"}); }),
      "without fields that --delimiter"));
  CHECK(test::contains(
      test::error_of([] { parse_rows("label;text\na;b\n", Format::csv, "x"); }),
      "there are semicolons, and commas are expected between fields: say --delimiter ';'"));
  CHECK(test::contains(test::error_of([] {
                         parse_rows("label;text\n\"a\"x;b\n", Format::csv, "x", {.delimiter = ";"});
                       }),
                       "not a ';'"));
  CHECK(test::contains(
      test::error_of([] { parse_rows("label,text\n0,a\n", Format::csv, "x", {.delimiter = ";"}); }),
      "semicolons are expected between fields: --delimiter holds for all files"));
}

TEST_CASE("a first field that is a number does not make a row of a header that has both names") {
  const auto csv = [](const std::string& text, const ReadOptions& options = {}) {
    return parse_rows(text, Format::csv, "x.csv", options);
  };
  const auto rows = csv("0,label,text\n7,good,a b\n");  // as pandas writes an index
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].label == "good");
  CHECK(rows[0].text == "a b");
  const auto named =
      csv("1,class,title,body\n1,x,a,b\n", {.label_column = "class", .text_column = "title,body"});
  REQUIRE(named.size() == 1);
  CHECK(named[0].text == "a b");
  CHECK(csv("3,label,of\n4,a,b\n").size() == 2);
  CHECK(csv("2,1,text\n4,a,b\n", {.label_column = "1", .text_column = "2"}).size() == 2);
}

TEST_CASE("labels of JSON are strings, whole numbers, true or false") {
  const auto rows = parse_rows(
      "{\"label\": -1, \"text\": \"\\ud83d\\ude00\"}\n{\"text\": \"\", \"label\": true, \"id\": "
      "{}}\r\n"
      "{\"label\": \"1\", \"text\": \"a\\nb\\u0000\"}\n{\"label\": 2.0, \"text\": \"\"}\n"
      "{\"label\": -1e3, \"text\": \"\"}",
      Format::jsonl, "x.jsonl");
  REQUIRE(rows.size() == 5);
  CHECK(rows[3].label == "2");
  CHECK(rows[4].label == "-1000");
  CHECK(rows[0].label == "-1");
  CHECK(rows[0].text == "\U0001F600");
  CHECK(rows[1].label == "true");
  CHECK(rows[2].text == std::string("a\nb\0", 4));
}

TEST_CASE("bad rows are skipped and counted where asked, and reading goes on behind them") {
  const auto good = [](std::string_view text, Format format, i64 skipped) {
    const auto reader = open_rows(text, format, "x", {.skip_bad_rows = true});
    std::string rows;
    for (Row row; reader->next(row);) rows += row.label + "=" + row.text + " ";
    CHECK(reader->skipped() == skipped);
    return rows;
  };
  CHECK(good("label\ttext\n1\ta\nbad\n2\tb\n\n3\tcaf\xE9\n4\td\n", Format::tsv, 3) ==
        "1=a 2=b 4=d ");
  CHECK(good("label,text\n1,a\n2,\"b\"c\n3,d,e\n4,\"f\ng\"\n", Format::csv, 2) == "1=a 4=f\ng ");
  CHECK(good("{}\n{\"label\": 1, \"text\": \"a\"}\n{\"label\": 2, \"text\": \"b\", \"text\": 1}\n",
             Format::jsonl, 2) == "1=a ");
  const std::string long_line = "label\ttext\n1\t" + std::string(5 << 20, 'x') + "\n2\tb\n";
  CHECK(good(long_line, Format::tsv, 1) == "2=b ");
  const test::Folder folder;
  const auto reader = open_rows(folder.write("x.tsv", long_line), {.skip_bad_rows = true});
  Row row;
  CHECK(reader->next(row));
  CHECK(row.text == "b");
  CHECK(row.line == 3);
}

TEST_CASE("behind a bad row that has swallowed others, these are read") {
  const test::Folder folder;
  const std::string header = "label,text\n", first = "a,first\n",
                    many = "b,\"a \"\"long\"\"\nrow\"\n" + std::string("c,\"short\"\n");
  for (const std::string bad :
       {"a,\"unclosed here\n", "a,\"open\r\n", "a,\"\n\"b\n", "a,\"b\",\"\n", "a,\"b\n\",c\n"})
    for (const int copies : {0, 1, 60'000}) {  // up to more than a field holds, and a window
      CAPTURE(bad);
      CAPTURE(copies);
      std::string rest;
      for (int i = 0; i < copies; ++i) rest += many;
      const std::string text = header + first + bad + rest + "d,last\n";
      const bool two = std::ranges::count(bad, '\n') == 2;
      const i64 skipped = 1 + (two && !bad.ends_with("\",c\n"));  // its second line is bad too
      const auto good = csv(header + first + rest + "d,last\n");
      const std::string path = folder.write("x.csv", text);
      for (const auto& reader : {open_rows(text, Format::csv, "x", {.skip_bad_rows = true}),
                                 open_rows(path, {.skip_bad_rows = true})}) {
        const std::vector<Row> rows = all_rows(*reader);
        CHECK(reader->skipped() == skipped);
        CHECK(test::contains(reader->first_skipped(), ":3: "));
        REQUIRE(rows.size() == good.size());
        bool same = true;
        for (std::size_t i = 0; i < rows.size(); ++i)
          same = same && rows[i].text == good[i].text &&
                 rows[i].line == good[i].line + (i > 0) * (1 + two);
        CHECK(same);
      }
    }
  // The last line of a file of CRLF may lack its LF, also where it is read again.
  const auto crlf =
      open_rows("label,text\r\na,b\r\nc,\"open\r\n\r", Format::csv, "x", {.skip_bad_rows = true});
  CHECK(all_rows(*crlf).size() == 1);
  CHECK(crlf->skipped() == 1);
  // A row whose quotes are closed is skipped whole, whatever its lines look like.
  const std::string closed = header + "a,\"text\nb,no row\nend\",c\nd,last\n";
  const auto whole = open_rows(closed, Format::csv, "x", {.skip_bad_rows = true});
  const std::vector<Row> left = all_rows(*whole);
  REQUIRE(left.size() == 1);
  CHECK(left[0].label == "d");
  CHECK(whole->skipped() == 1);
  // Lines that are bad themselves, behind an open quote.
  for (const std::string& line : {std::string(3 << 20, 'x'), std::string("caf\xE9")}) {
    const std::string text = header + "a,\"open\nb,good\n" + line + "\nc,good\n";
    const auto reader = open_rows(folder.write("x.csv", text), {.skip_bad_rows = true});
    CHECK(all_rows(*reader).size() == 2);
    CHECK(reader->skipped() == 2);
    CHECK(notes(*reader).back().starts_with("2 bad rows skipped; the first: "));
  }
  // A whole row without a label has swallowed nothing.
  const std::string unlabelled = header + "a,b\n,\"no label\nx,y\"\n";
  const auto reader = open_rows(unlabelled, Format::csv, "x", {.skip_bad_rows = true});
  CHECK(all_rows(*reader).size() == 1);
  CHECK(notes(*reader).back() == "1 bad row skipped; the first: x:3: the row has no label");
}

TEST_CASE("labels need not be read") {
  const ReadOptions none = {.label_column = ""};
  CHECK(csv("id,text\n1,a\n,b\n", none)[1].text == "b");
  CHECK(csv("id,text\n1,a\n", none)[0].label.empty());
  CHECK(parse_rows("{\"text\": \"a\"}", Format::jsonl, "x", none)[0].text == "a");
  CHECK(csv("3,title,text\n4,a,b\n", none)[1].text == "a b");  // no header: the first is a label
  CHECK(
      parse_rows("one\ntwo\n", Format::tsv, "x", {.label_column = "", .no_header = true})[0].text ==
      "one");
  CHECK(test::contains(test::error_of([&] { csv("id,body\n1,a\n", none); }), "with --text-column"));
}

TEST_CASE("the last line of a file of CRLF may end with the CR alone") {
  const auto rows = tsv("label\ttext\r\na\tb\r\nb\tyo\r");
  REQUIRE(rows.size() == 2);
  CHECK(rows[1].text == "yo");
  CHECK(tsv("label\ttext\na\tb\nb\tyo\r")[1].text == "yo\r");  // no end there
  CHECK(csv("label,text\r\na,\"b\"\r")[0].text == "b");
  Lines lines("a\r\nb\r", "here");
  CHECK(lines.next());
  CHECK(lines.next());
  CHECK(lines.line() == "b");
  CHECK(lines.end() == "\r");
  CHECK_FALSE(lines.next());
}

TEST_CASE("a column whose name holds a comma is named by it, and several are still joined") {
  ReadOptions options;
  options.text_column = "title, long";
  const auto text = [&](const std::string& table) { return csv(table, options).at(0).text; };
  CHECK(text("label,\"title, long\",body\na,one,two\n") == "one");
  options.text_column = "title,body";
  CHECK(text("label,title,body\na,one,two\n") == "one two");
}

TEST_CASE("a column that is label and text at once, or both texts, is refused by name") {
  const auto refused = [](const std::string& text, Format format, const ReadOptions& options,
                          const std::string& words) {
    const std::string message = test::error_of([&] { open_rows(text, format, "x", options); });
    CAPTURE(message);
    CHECK(test::contains(message, words));
  };
  const std::string object = R"({"label": "a", "text": "b", "more": "c"})";
  for (const auto& [format, text] : {std::pair{Format::tsv, std::string("label\ttext\tmore\n")},
                                     {Format::csv, "label,text,more\n"},
                                     {Format::jsonl, object}}) {
    refused(text, format, {.text_column = "text,more,text"}, "'text' is named twice for one text");
    refused(text, format, {.text_column = "text,label"}, "'label' is both the label and a text");
    refused(text, format, {.label_column = "text"}, "'text' is both the label and a text");
    refused(text, format, {.pair_column = "label"}, "'label' is both the label and a second text");
    refused(text, format, {.pair_column = "more,text"}, "'text' is both the text and the second");
    CHECK_NOTHROW(open_rows(text, format, "x", {.text_column = "text,more"}));
    CHECK_NOTHROW(open_rows(text, format, "x", {.label_column = "more", .pair_column = "label"}));
    CHECK_NOTHROW(open_rows(text, format, "x", {.label_column = "", .text_column = "label"}));
  }
  for (const Format format : {Format::tsv, Format::csv}) {
    const std::string text = format == Format::tsv ? "a\tb\tc\n" : "a,b,c\n";
    ReadOptions options = {.label_column = "1", .text_column = "1", .no_header = true};
    refused(text, format, options, "column '1' is both the label and a text");
    options.label_column = "label";  // the first column
    refused(text, format, options, "column '1' is both the label and a text");
    options = {.pair_column = "1", .no_header = true};
    refused(text, format, options, "column '1' is both the label and a second text");
    options = {.text_column = "2", .pair_column = "02,2", .no_header = true};
    refused(text, format, options, "column '2' is both the text and the second text");
  }
}

TEST_CASE("a file is read the same through a small window as at once") {
  const test::Folder folder;
  std::string text = "label,text\n";
  for (int i = 0; i < 60'000; ++i)  // three windows, with ends of every kind across their edges
    text += fmt::format("{},\"number {}, {}\"\r\n", i % 7, i,
                        i % 3 ? "\"\"\u4E2D\"\"" : "two\r\nlines");
  const auto at_once = csv(text), streamed = read_rows(folder.write("x.csv", text));
  REQUIRE(at_once.size() == 60'000);
  REQUIRE(streamed.size() == at_once.size());
  bool same = true;
  for (std::size_t i = 0; i < at_once.size(); ++i)
    same = same && at_once[i].text == streamed[i].text && at_once[i].line == streamed[i].line;
  CHECK(same);
}

TEST_CASE("the three formats of the sample files give equal rows") {
  const auto folder = test::data_set("formats");
  if (folder.empty()) {
    MESSAGE("skipped, not found: formats");
    return;
  }
  for (const auto& [name, formats] :
       {std::pair<std::string, std::vector<std::string>>{"sample", {".tsv", ".csv", ".jsonl"}},
        {"multiline", {".csv", ".jsonl"}}}) {
    const auto first = read_rows(folder / (name + formats[0]));
    CHECK(first.size() == (name == "sample" ? 210 : 5));
    for (const std::string& format : formats) {
      const auto rows = read_rows(folder / (name + format));
      REQUIRE(rows.size() == first.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK(rows[i].label == first[i].label);
        CHECK(rows[i].text == first[i].text);
      }
    }
  }
}

TEST_CASE("AG News is read as it came: no header, quotes and backslashes") {
  const auto folder = test::data_set("agnews");
  if (folder.empty()) {
    MESSAGE("skipped, not found: agnews");
    return;
  }
  const auto rows = read_rows(folder / "original.csv");
  CHECK(rows.size() == 7'600);
  for (const Row& row : rows)
    CHECK((row.label.size() == 1 && "1234"[0] <= row.label[0] && row.label[0] <= '4'));
  const std::string first = rows[0].text;
  CHECK(first.starts_with("Fears for T N pension after talks Unions representing"));
}

TEST_CASE("a message quotes the beginning of a long line, cut between characters") {
  std::string line;
  for (int i = 0; i < 100; ++i) line += "\u4E2D";
  const std::string message = tsv_error("label\ttext\n" + line + "\n");
  CHECK(find_invalid_utf8(message) == std::string::npos);
}

TEST_CASE("a missing file and a folder are refused by name") {
  const test::Folder folder;
  CHECK(test::contains(test::error_of([&] { read_rows(folder.path() + "/none.tsv"); }),
                       "none.tsv: cannot be opened: No such file"));
  CHECK(test::contains(test::error_of([&] { read_rows(folder.path()); }), "is a folder"));
}

TEST_CASE("a package list yields descriptions and sections") {
  const auto rows = parse_package_list(
      "Package: a\nDescription: first line\n more of it\n .\n a paragraph\nSection: contrib/games\n"
      "\n"
      "Package: b\nSection: libs\n"  // no description
      "\n"
      "Package: c\nSection: libs\nDescription-en: only this\nTag: x,\n y\nDescription: no more\n");
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
