/// minima eval: whose names and numbers the labels of a file are.
#include <fmt/format.h>
#include <sys/stat.h>

#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("eval reads numbers by the labels.txt beside the file, as training does") {
  const Shell shell;
  // The model's classes are the names, sorted: neg, pos; labels.txt has them the other way round.
  shell.write("named.tsv", "label\ttext\npos\tgood fine\nneg\tbad poor\n");
  std::filesystem::create_directory(shell.folder / "numbers");
  shell.write("numbers/labels.txt", "pos\nneg\n");
  std::string rows = "label\ttext\n", named = rows;
  for (int i = 0; i < 30; ++i) {
    rows += fmt::format("0\tgood fine {}\n1\tbad poor {}\n", i, i);
    named += fmt::format("pos\tgood fine {}\nneg\tbad poor {}\n", i, i);
  }
  shell.write("numbers/rows.tsv", rows);
  shell.write("named.tsv", named);
  REQUIRE(shell.minima(std::string("train --data named.tsv --lr 1e-2 --out run") + kTiny).code ==
          0);
  const auto confusion = [&](const std::string& file) {
    const Answer answer = shell.minima("eval run/final " + file + " --json");
    CAPTURE(answer.err);
    REQUIRE(answer.code == 0);
    CHECK(answer.err.find("is no name") == std::string::npos);
    return parse_json(answer.out, file)["confusion"];
  };
  CHECK(confusion("numbers/rows.tsv") == confusion("named.tsv"));
}

TEST_CASE(
    "eval takes labels as they are where only so the model has them, whatever labels.txt says") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "set");
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 30; ++i) rows += fmt::format("0\tgood fine {}\n1\tbad poor {}\n", i, i);
  shell.write("plain.tsv", rows);
  shell.write("set/rows.tsv", rows);
  shell.write("set/labels.txt", "pos\nneg\n");
  REQUIRE(shell.minima(std::string("train --data plain.tsv --out run") + kTiny).code == 0);
  const Answer answer = shell.minima("eval run/final set/rows.tsv --json");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.err.find("set/labels.txt: its names are not the model's") != std::string::npos);
  CHECK(answer.out == shell.minima("eval run/final plain.tsv --json").out);
  shell.write("set/rows.tsv", rows + "2\tmore\n");
  shell.write("set/labels.txt", "pos\nneg\nother\n");
  const Answer refused = shell.minima("eval run/final set/rows.tsv");
  CHECK(refused.code == 2);
  CHECK(refused.err.find("set/rows.tsv:2: label '0', 'pos' by set/labels.txt, is not one of the "
                         "model's: 0, 1") != std::string::npos);

  // To read the labels first is to read twice.
  REQUIRE(::mkfifo((shell.folder / "set/pipe.tsv").c_str(), 0600) == 0);
  const Answer piped = shell.minima("eval run/final set/pipe.tsv", "", "timeout 60");
  CHECK(piped.code == 2);
  CHECK(piped.err.find("set/pipe.tsv: is a pipe or a device, not a file") != std::string::npos);
}
