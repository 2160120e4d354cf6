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
