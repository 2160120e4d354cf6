/// minima data.
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("data tells the classes, lengths and repeated texts of files and folders") {
  const Shell shell;
  shell.write("a.csv",
              "text,label\r\nsome text,spam\r\n\"Some, text!\",ham\r\nother,ham\r\nbad\r\n");
  check_refused(shell, "data a.csv",
                {"a.csv:5", "1 field, the header 2: 'bad'; --skip-bad-rows leaves such rows out"},
                "");
  const Answer answer = shell.minima("data a.csv --skip-bad-rows --json");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json json = parse_json(answer.out, "data --json");
  CHECK(json["rows"] == 3);
  CHECK(json["skipped"] == 1);
  const Json& all = json["splits"]["all"];
  CHECK(all["classes"][0]["label"] == "ham");
  CHECK(all["classes"][0]["rows"] == 2);
  CHECK(all["characters"]["max"] == 11);
  CHECK(all["words"]["p50"] == 2);
  CHECK(all["duplicates"]["exact"] == 0);
  CHECK(all["duplicates"]["normalized"] == 1);
  CHECK(json["conflicts"]["normalized"]["rows"] == 2);

  std::filesystem::create_directory(shell.folder / "set");
  shell.write("set/train.tsv", "label\ttext\n0\ta b\n1\tc\n");
  shell.write("set/validation.jsonl", "{\"label\": 0, \"text\": \"A, b\"}\n");
  shell.write("set/labels.txt", "no\nyes\n");
  shell.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
  const Answer folder = shell.minima("data set --vocab vocab.txt --json");
  const Json splits = parse_json(folder.out, "data --json");
  CHECK(splits["rows"] == 3);
  CHECK(splits["splits"]["train"]["classes"][1]["name"] == "yes");
  CHECK(splits["splits"]["train"]["tokens"]["max"] == 4);
  CHECK(splits["splits"]["train"]["unknown"] == 2);
  CHECK(splits["shared"]["dev_in_train"]["normalized"] == 1);
  const Answer table = shell.minima("data set");
  CHECK(table.code == 0);
  CHECK(table.out.find("rows of dev whose text is in train: 0, ignoring case and punctuation 1") !=
        std::string::npos);
  shell.write("set/dev.tsv", "label\ttext\n0\ta\n");
  check_refused(shell, "data set", {"dev.tsv", "validation.jsonl"}, "");
  check_refused(shell, "data none.tsv", {"none.tsv"}, "");
  check_refused(shell, "data a.csv --text-column body", {"a.csv:1", "body", "--text-column"}, "");

  std::string lines = "label\ttext\n";
  for (std::size_t n = 1; n <= 100; ++n) lines += "0\t" + std::string(n, 'a') + "\n";
  shell.write("lengths.tsv", lines);
  const Json lengths = json_of(shell, "data lengths.tsv --json")["splits"]["all"]["characters"];
  for (const auto& [name, length] :
       {std::pair{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"max", 100}})
    CHECK(lengths[name] == length);
}

TEST_CASE("data prints all that it counts, and --json has the same") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "set");
  shell.write("set/train.tsv",
              "label\tfirst\tsecond\n0\tRed, one\tapple\n1\tred two\t\nbad\n0\t \t\n"
              "0\tred one\tApple!\n1\tRed, one\tapple\n0\tx y z\tq\n");
  shell.write("set/test.tsv", "label\tfirst\tsecond\n0\tred one\tapple\n1\tnew\tnew\n");
  shell.write("set/labels.txt", "no\nyes\n");
  shell.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\none\ntwo\n");
  const std::string data =
      "data set --text-column first --pair-column second --skip-bad-rows --vocab vocab.txt";
  CHECK(
      shell.minima(data).out ==
      R"(train (set/train.tsv): 6 rows, 4 of them pairs, 1 without a word, 1 bad row skipped (set/train.tsv:4: the row has 1 field, the header 3: 'bad')

       rows   share  label
          4  66.7 %  0 no
          2  33.3 %  1 yes
  balance 0.918 (1: equal shares)

  length         min     p50     p90     p95     p99     max     mean
  characters       1       7      13      13      13      13      8.8
  words            0       3       4       4       4       4      2.5
  tokens           2       7       7       7       7       7      5.7
  [UNK]: 29.412 % of the tokens

  rows whose text an earlier row has: 1, ignoring case and punctuation 2

test (set/test.tsv): 2 rows, 2 of them pairs

       rows   share  label
          1  50.0 %  0 no
          1  50.0 %  1 yes
  balance 1.000 (1: equal shares)

  length         min     p50     p90     p95     p99     max     mean
  characters       6       6      12      12      12      12      9.0
  words            2       2       3       3       3       3      2.5
  tokens           5       5       6       6       6       6      5.5
  [UNK]: 27.273 % of the tokens

  rows whose text an earlier row has: 0, ignoring case and punctuation 0

rows of test whose text is in train: 0, ignoring case and punctuation 1
texts with more than one label: 1 (2 rows), ignoring case and punctuation 1 (4 rows)
)");
  const Json json = json_of(shell, data + " --json");
  CHECK(json["skipped"] == 1);
  CHECK(json["splits"]["train"] == parse_json(R"({"file": "set/train.tsv",
      "rows": 6,
      "skipped": 1,
      "first_skipped": "set/train.tsv:4: the row has 1 field, the header 3: 'bad'",
      "pairs": 4,
      "empty": 1,
      "classes": [{"label": "0", "rows": 4, "share": 0.6666666666666666, "name": "no"}, {"label": "1", "rows": 2, "share": 0.3333333333333333, "name": "yes"}],
      "balance": 0.9182958340544894,
      "characters": {"min": 1, "p50": 7, "p90": 13, "p95": 13, "p99": 13, "max": 13, "mean": 8.833333333333334},
      "words": {"min": 0, "p50": 3, "p90": 4, "p95": 4, "p99": 4, "max": 4, "mean": 2.5},
      "tokens": {"min": 2, "p50": 7, "p90": 7, "p95": 7, "p99": 7, "max": 7, "mean": 5.666666666666667},
      "unknown": 10,
      "duplicates": {"exact": 1, "normalized": 2}})",
                                              "expected"));
  CHECK(json["conflicts"] ==
        parse_json(R"({"exact": {"texts": 1, "rows": 2}, "normalized": {"texts": 1, "rows": 4}})",
                   "expected"));
}

TEST_CASE("data shows the beginning of a label that goes on and on; --json has all of it") {
  const Shell shell;
  const std::string label(1000, 'x');
  shell.write("long.tsv", "label\ttext\n" + label + "\ta\nb\tb\n");
  const std::string table = shell.minima("data long.tsv").out;
  CHECK(table.find(" " + label.substr(0, 120) + "… \n") != std::string::npos);
  CHECK(table.find(label) == std::string::npos);
  CHECK(json_of(shell, "data long.tsv --json")["splits"]["all"]["classes"][1]["label"] == label);
}

TEST_CASE("data says from how many texts each count of repeated ones is estimated") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 400'000; ++i) rows += fmt::format("a\ttext {0}\nb\tText {0}\n", i);
  shell.write("many.tsv", rows);
  const Answer answer = shell.minima("data many.tsv");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.out.find("(repeated texts are estimated from one text in 2, ignoring case and "
                        "punctuation from one in 1)") != std::string::npos);
}

TEST_CASE("data and train tell of labels that look alike") {
  const Shell shell;
  std::string rows;
  for (int i = 0; i < 60; ++i)
    rows += fmt::format("{},text {}\n", i % 3 ? (i % 3 > 1 ? "a" : "A ") : "b", i);
  shell.write("a.csv", "label,text\n" + rows);
  for (const std::string& verb : {std::string("data a.csv"), std::string("data a.csv --json"),
                                  std::string("train --data a.csv --out run") + kTiny}) {
    const Answer answer = shell.minima(verb);
    CAPTURE(answer.err);
    CHECK(answer.code == 0);
    CHECK(answer.err.find(
              "note: labels that look alike but for blanks and letter case are classes of "
              "their own: 'A ' / 'a'\n") != std::string::npos);
  }
  std::filesystem::remove_all(shell.folder / "run");
}

TEST_CASE("without a header columns are numbers, and a name that is given is refused") {
  const Shell shell;
  std::string rows;
  for (int i = 0; i < 60; ++i) rows += fmt::format("text {},{}\n", i, i % 2);
  shell.write("a.csv", rows);
  for (const std::string option :
       {"--label-column label", "--text-column text", "--text-column 1,x"})
    for (const std::string verb : {"data a.csv", "train --data a.csv"})
      check_refused(shell, verb + " --no-header " + option,
                    {option.substr(0, 12), "columns have no names under --no-header"},
                    verb == "data a.csv" ? "" : " --out run");
  CHECK(shell.minima("data a.csv --no-header").code == 0);
  CHECK(shell.minima("data a.csv --no-header --label-column 2 --text-column 1").code == 0);
  // The names by default are no names that are given, also where a run is repeated.
  const std::string swapped = "train --data b.csv --no-header --out run";
  shell.write("b.csv", "0,a\n1,b\n0,c\n1,d\n0,e\n1,f\n");
  REQUIRE(shell.minima(swapped + kTiny).code == 0);
  const Answer again = shell.minima("train --config run/run.json --out again");
  CAPTURE(again.err);
  CHECK(again.code == 0);
}
