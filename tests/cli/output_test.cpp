/// What the program writes where: to a closed standard error, to a full disk, to a terminal.
#include <fmt/format.h>

#include <cstdlib>
#include <regex>

#include "core/files/file.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("a standard error that cannot be written costs no work, and no exit code") {
  const Shell shell;
  struct Gone {
    const char *before, *redirected, *after;
  };
  for (const Gone& gone :
       {Gone{"{", "2>&- >log", "}"}, Gone{"{", "2>/dev/full >log", "}"},
        // A pipe whose reader is gone.
        Gone{"{ rm -f pipe; mkfifo pipe; exec 3<>pipe 4>pipe 3<&-;", "2>&4 >log", "}"}}) {
    CAPTURE(gone.redirected);
    std::filesystem::remove_all(shell.folder / "run");
    const auto code_of = [&](const std::string& arguments) {
      shell.minima(fmt::format("{} {}; echo $? >code; {}", arguments, gone.redirected, gone.after),
                   "", gone.before);
      return read_file(shell.folder / "code");
    };
    CHECK(code_of(std::string("train --out run") + kTiny) == "0\n");
    CHECK(shell.exists("run/final/model.safetensors"));
    CHECK(read_file(shell.folder / "log").find("\nmodel: run/final\n") != std::string::npos);
    CHECK(code_of("memory --model tiny --optimizers sgd") == "0\n");  // which has a note
    CHECK(code_of("nosuch") == "2\n");
    CHECK(code_of("inspect nowhere") == "2\n");
    // No file of the run has taken the number of a closed stream, and its lines.
    CHECK(read_file(shell.folder / "run/metrics.jsonl").find("  step ") == std::string::npos);
  }
}

TEST_CASE("on a terminal the time left is what the steps left take at the rate beside it") {
  if (std::system("command -v script >/dev/null") != 0) {
    MESSAGE("skipped: there is no program script, which makes a terminal");
    return;
  }
  const Shell shell;
  REQUIRE(std::system(fmt::format("cd '{}' && script -qec \"'{}' train --minutes 0.01 --epochs 900 "
                                  "--out run {}\" shown </dev/null >/dev/null",
                                  shell.folder.string(), shell.program, kTinyModel)
                          .c_str()) == 0);
  const std::string shown = read_file(shell.folder / "shown");
  CAPTURE(shown);
  const std::regex bar(R"(( \d+)/(\d+)  loss [\d.]+  ([\d.]+) steps/s  (\d+) (s|min|h) )");
  std::smatch m;
  REQUIRE(std::regex_search(shown, m, bar));
  const double steps = std::stod(m[2]) - std::stod(m[1]), rate = std::stod(m[3]);
  const double unit = m[5] == "s" ? 1 : m[5] == "min" ? 60 : 3600, left = unit * std::stod(m[4]);
  CHECK(left > steps / (rate + 0.05) - unit - 1);  // the rate is rounded
  CHECK(left < steps / (rate - 0.05) + 1);
}

TEST_CASE("help lists the model once, which may be named by place or by option") {
  const Shell shell;
  for (const char* verb : {"eval", "predict"}) {
    const std::string help = shell.minima(std::string(verb) + " --help").out;
    CAPTURE(help);
    CHECK(help.find("\n  model ") != std::string::npos);
    CHECK(help.find("\n  --model") == std::string::npos);
    CHECK(shell.minima(std::string(verb) + " --model gone x.csv").err.starts_with("minima: gone"));
  }
}

TEST_CASE("help that cannot be written is a failure at run time") {
  const Shell shell;
  for (const char* asked : {"--help", "--version", "train --help"}) {
    CHECK(shell.minima(asked).code == 0);
    shell.minima(std::string(asked) + " >/dev/full 2>why; echo $? >code; }", "", "{");
    CHECK(read_file(shell.folder / "code") == "1\n");
    CHECK(read_file(shell.folder / "why").find("cannot be written") != std::string::npos);
  }
}

TEST_CASE("what a terminal would obey is shown: labels in errors and tables") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 40; ++i)
    rows += fmt::format("{}\ttext {} of {}\n", i % 2 ? "a\x1B[31m" : "b\u202E", i, i % 2);
  shell.write("steer.tsv", rows);
  shell.write("other.tsv", "label\ttext\nc\x1B]0;title\x07\ttext\n");
  const auto safe = [](const std::string& text) {
    return text.find('\x1B') == std::string::npos && text.find("\u202E") == std::string::npos;
  };
  const Answer data = shell.minima("data steer.tsv");
  CHECK(data.out.find("a\\x1b[31m") != std::string::npos);
  CHECK(data.out.find("b\\u202e") != std::string::npos);
  const Answer train = shell.minima(std::string("train --data steer.tsv --out run") + kTiny);
  REQUIRE(train.code == 0);
  const std::size_t at = train.out.find("\na\\x1b[31m            ");  // in its column
  REQUIRE(at != std::string::npos);
  CHECK(train.out[at + 22] != ' ');
  const Answer eval = shell.minima("eval run/final steer.tsv");
  CHECK(eval.code == 0);
  const Answer refused = shell.minima("eval run/final other.tsv");
  CHECK(refused.code == 2);
  CHECK(refused.err.find("label 'c\\x1b]0;title\\x07' is not one of the model's: a\\x1b[31m, ") !=
        std::string::npos);
  for (const Answer& answer : {data, train, eval, refused}) {
    CHECK(safe(answer.out));
    CHECK(safe(answer.err));
  }
  // What machines read is what the data have.
  const Answer predicted = shell.minima("predict run/final", "text 1 of 1\n");
  CHECK((predicted.out == "a\x1B[31m\n" || predicted.out == "b\u202E\n"));
}
