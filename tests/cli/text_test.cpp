/// What concerns text: pairs, long lines, options that do not go together.
#include <cstdlib>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// Rows of pairs whose class is whether the texts are the same.
std::string pairs() {
  std::string rows = "label\tfirst\tsecond\n";
  const char* words[] = {"red", "green", "blue", "white"};
  for (int i = 0; i < 80; ++i)
    rows += fmt::format("{}\t{} {}\t{}\n", i % 2 ? "same" : "other", words[i % 4], i,
                        words[(i + 1 - i % 2) % 4]);
  return rows;
}

const std::string kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";

}  // namespace

TEST_CASE("predict takes pairs of texts from a model that has learned from pairs") {
  const Shell shell;
  shell.write("pairs.tsv", pairs());
  REQUIRE(shell
              .minima(std::string("train --data pairs.tsv --text-column first --pair-column second "
                                  "--out run") +
                      kTiny)
              .code == 0);
  const Answer plain = shell.minima("predict run/final --pairs", "red 1\tred\nblue 2\t\n\t\n");
  CAPTURE(plain.err);
  CHECK(plain.code == 0);
  CHECK(plain.err ==
        "1 of 3 texts: no word in it, so that its label says nothing (the first in line 3)\n");
  CHECK(std::ranges::count(plain.out, '\n') == 3);
  const auto ask = [&](const std::string& arguments, const std::string& input) {
    const Answer answer = shell.minima("predict run/final --json" + arguments, input);
    REQUIRE(answer.code == 0);
    return parse_json(answer.out, "predict --json")["probabilities"];
  };
  CHECK(shell
            .minima("eval run/final pairs.tsv --text-column first --pair-column second "
                    "--predictions said.csv")
            .code == 0);
  const std::string said = read_file(shell.folder / "said.csv"),
                    by_train = read_file(shell.folder / "run/predictions.csv");
  CHECK(said.substr(0, said.find('\n')) == by_train.substr(0, by_train.find('\n')));
  CHECK(said.find(",red 0,green\n") != std::string::npos);
  // The second text counts, and is more than the rest of the first.
  CHECK(ask(" --pairs", "red 1\tred\n") != ask(" --pairs", "red 1\tblue\n"));
  CHECK(ask(" --pairs", "red 1\tred\n") != ask("", "red 1 red\n"));
  CHECK(ask(" --pairs", "red 1\t\n") == ask("", "red 1\n"));

  const auto refused = [&](const std::string& input, const std::string& answered,
                           const std::string& words) {
    const Answer answer = shell.minima("predict run/final --pairs", input);
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(answer.err.find(words) != std::string::npos);
    CHECK(std::ranges::count(answer.out, '\n') == std::ranges::count(answered, '\n'));
  };
  refused("red\tred\nred\n", "red\n",
          "standard input:2: the line has no tab; --pairs takes text<TAB>text");
  refused("red\tred\tred\n", "", "standard input:1: the line has 2 tabs");
  // On request it goes on, and an answer's line is its text's.
  const std::string lines = "red\tred\nred\nblue\tblue\n";
  const Answer all = shell.minima("predict run/final --pairs --skip-bad-rows", lines);
  CHECK(all.code == 0);
  CHECK(std::ranges::count(all.out, '\n') == 3);
  CHECK(all.out.find("\n\n") != std::string::npos);
  CHECK(all.err.find("1 bad line without a label, the first: standard input:2: the line has no "
                     "tab") != std::string::npos);
  const Answer json = shell.minima("predict run/final --pairs --skip-bad-rows --json", lines);
  CHECK(json.out.find("\n{\"error\":\"standard input:2: the line has no tab") != std::string::npos);
  for (const char* verb : {"predict run/final", "eval run/final pairs.tsv --text-column first"}) {
    const Answer single = shell.minima(verb, "red\n");
    CAPTURE(single.err);
    CHECK(single.code == 0);
    CHECK(single.err.find("has learned from pairs of texts") != std::string::npos);
  }
}

TEST_CASE("lines of standard input have a greatest length, and what came before is answered") {
  const Shell shell;
  shell.write("vocab.txt", kVocab);
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string most(std::size_t{1} << 20, 'a');
  for (const char* verb : {"tokenize --vocab vocab.txt", "predict run/final"}) {
    CAPTURE(verb);
    const Answer fits = shell.minima(verb, most + "\na\n");
    CHECK(fits.code == 0);
    CHECK(std::ranges::count(fits.out, '\n') == 2);
    const Answer refused = shell.minima(verb, "a\n" + most + "b\na\n");
    CHECK(refused.code == 2);
    CHECK(refused.err == "minima: standard input:2: the line has more than 1048576 bytes\n");
    CHECK(std::ranges::count(refused.out, '\n') == 1);
    const Answer packed = shell.minima(verb, "\x1F\x8B\x08 and more\n");
    CHECK(packed.code == 2);
    CHECK(packed.out.empty());
    CHECK(packed.err.find("standard input: is compressed by gzip") != std::string::npos);
    // A line without an end is no reason to read on for ever.
    const int status =
        std::system(fmt::format("cd '{}' && timeout 60 '{}' {} < /dev/zero > out 2> err",
                                shell.folder.string(), shell.program, verb)
                        .c_str());
    CHECK(WEXITSTATUS(status) == 2);
  }
}

TEST_CASE("data and train read a labels.txt by one rule") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 60; ++i) rows += fmt::format("{}\ttext number {}\n", i % 2 + 1, i);
  shell.write("numbers.tsv", rows);
  shell.write("labels.txt", "one\ntwo\n");  // no name for 2: another file's
  const std::string train = std::string("train --out run") + kTiny + " --data ";
  const Answer file = shell.minima("data numbers.tsv --json");
  REQUIRE(file.code == 0);
  const Json all = parse_json(file.out, "data --json")["splits"]["all"];
  CHECK_FALSE(all["classes"][0].contains("name"));
  CHECK(all["note"].get<std::string>().find("is not for this file") != std::string::npos);
  const Answer trained = shell.minima(train + "numbers.tsv");
  CHECK(trained.code == 0);
  CHECK(trained.err.find("is not for this file") != std::string::npos);
  std::filesystem::remove_all(shell.folder / "run");

  // In a folder of splits it names all classes.
  std::filesystem::create_directory(shell.folder / "set");
  for (const char* split : {"train", "dev", "test"})
    shell.write(fmt::format("set/{}.tsv", split), rows);
  shell.write("set/labels.txt", "one\ntwo\n");
  for (const std::string& verb : {std::string("data set"), train + "set"})
    check_refused(shell, verb, {"train.tsv:3: the label '2' is neither a name in set/labels.txt"},
                  "");
}

TEST_CASE("options that would be ignored are refused") {
  const Shell shell;
  shell.write("vocab.txt", kVocab);
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += fmt::format("a line of text, number {}\n", i);
  shell.write("lines.txt", lines);
  const std::string pretrain = std::string("pretrain --data lines.txt --vocabulary 100") + kTiny;
  REQUIRE(shell.minima(pretrain + " --out language").code == 0);
  const std::string folder = " --vocab language/final", json = folder + "/tokenizer.json";

  for (const char* option :
       {"--label-column x", "--metric f1", "--patience 1", "--word-dropout 0.1"})
    check_refused(shell, pretrain + " " + option, {std::string(option).substr(0, 8)});
  for (const char* option : {"--text-column=x", "--pair-column=x", "--no-header"})
    check_refused(shell, pretrain + " " + option, {"lines.txt", std::string(option).substr(0, 11)});
  for (const char* verb : {"train", "compare", "pretrain"}) {
    const std::string begin = std::string(verb) + kTiny;
    check_refused(shell, begin + " --vocab vocab.txt --vocabulary 99", {"vocab.txt", "size"});
    check_refused(shell, begin + json + " --cased", {"tokenizer.json", "--cased", "vocab.txt"});
    check_refused(shell, begin + folder + " --uncased", {"language/final", "vocab.txt"});
    check_refused(shell, begin + " --cased --uncased", {"--cased", "--uncased"});
    check_refused(shell, begin + " --text-column body", {"builtin", "--text-column"});
    const std::string fine = std::string(verb) + " --threads 1 --epochs 1 --model language/final";
    for (const char* option : {" --cased", " --uncased", " --vocabulary 99", " --vocab vocab.txt"})
      check_refused(shell, fine + option, {"language/final", "its own tokenizer"});
  }
  check_refused(shell, "train --model distilbert-base-cased --uncased", {"cased model"});
  check_refused(shell, "data lines.txt --seed 2", {"--seed", "debian"}, "");
  check_refused(shell, "data builtin --no-header", {"builtin", "--no-header"}, "");
  check_refused(shell, "data builtin --cased", {"--cased", "--vocab"}, "");
  check_refused(shell, "data builtin --cased" + json, {"tokenizer.json", "vocab.txt"}, "");
  check_refused(shell, "tokenize --uncased" + folder, {"language/final", "vocab.txt"}, "");
}

TEST_CASE("what is frozen stays as it was in pre-training too") {
  const Shell shell;
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += fmt::format("a line of text, number {}\n", i);
  shell.write("lines.txt", lines);
  const std::string pretrain = "pretrain --data lines.txt --epochs 1 --threads 1";
  REQUIRE(
      shell.minima(std::string("pretrain --data lines.txt --vocabulary 100 --out first") + kTiny)
          .code == 0);
  REQUIRE(shell.minima(pretrain + " --model first/final --freeze embeddings --out then").code == 0);
  const SafetensorsFile first(shell.folder / "first/final/model.safetensors"),
      then(shell.folder / "then/final/model.safetensors");
  i64 moved = 0;
  for (const auto& [name, entry] : first.entries()) {
    CAPTURE(name);
    const Tensor a = first.read(name), b = then.read(name);
    const bool same = test::same_bits(a, b);
    if (name.find("embeddings.") != std::string::npos) CHECK(same);
    moved += !same;
  }
  CHECK(moved > 5);
  CHECK(shell.minima(pretrain + " --model first/final --freeze nothing --out none").code == 2);
}
