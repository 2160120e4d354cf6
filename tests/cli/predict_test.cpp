/// minima predict.
#include <fmt/ranges.h>

#include <sstream>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("predict answers a line as soon as it is typed, and keeps the order of many") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string talk = fmt::format(
      "cd '{}' && mkfifo asked answered && timeout 100 bash -c \"'{}' predict run/final < asked > "
      "answered & "
      "exec 3> asked 4< answered; for text in 'where is my parcel' 'the app crashes'; do "
      "echo \\$text >&3; read -r answer <&4; echo \\$answer; done; exec 3>&-; wait\" > said",
      shell.folder.string(), shell.program);
  REQUIRE(std::system(talk.c_str()) == 0);
  const std::string said = read_file(shell.folder / "said");
  CHECK(std::ranges::count(said, '\n') == 2);

  std::vector<std::string> lines;
  for (int i = 0; i < 700; ++i)
    lines.push_back(fmt::format("{} {}", i % 3 ? "my parcel is late" : "the app crashes", i));
  const auto joined = [](const std::vector<std::string>& all) {
    return fmt::format("{}\n", fmt::join(all, "\n"));
  };
  const std::string forward = shell.minima("predict run/final", joined(lines)).out;
  CHECK(shell.minima("predict run/final -", joined(lines)).out == forward);
  std::ranges::reverse(lines);
  const std::string backward = shell.minima("predict run/final", joined(lines)).out;
  std::vector<std::string> answers;
  for (std::istringstream stream(backward); std::getline(stream, answers.emplace_back());) {
  }
  answers.pop_back();
  std::ranges::reverse(answers);
  CHECK(answers.size() == 700);
  CHECK(joined(answers) == forward);
}

TEST_CASE("predict labels the texts of a file as it does lines, and says in which line they are") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string lines = "my parcel is late\nthe app crashes, again\n";
  shell.write("lines.txt", lines);
  shell.write("table.csv", "id,text\n1,my parcel is late\n2,\"the app crashes, again\"\n");
  shell.write("more.tsv", "no\tone\n");
  const auto probabilities = [&](const std::string& arguments, const std::string& input = "") {
    std::vector<std::string> all;
    for (std::istringstream stream(
             shell.minima("predict run/final --json " + arguments, input).out);
         stream;) {
      std::string line;
      if (std::getline(stream, line))
        all.push_back(parse_json(line, "predict")["probabilities"].dump());
    }
    return all;
  };
  const std::vector<std::string> answers = probabilities("", lines);
  REQUIRE(answers.size() == 2);
  CHECK(answers[0] != answers[1]);
  CHECK(probabilities("lines.txt") == answers);
  CHECK(probabilities("table.csv") == answers);
  CHECK(std::ranges::count(shell.minima("predict run/final table.csv").out, '\n') == 2);
  shell.write("two.csv", "id,text\n1,\"my parcel\nis late\"\n2,the app\n");
  const std::string json = shell.minima("predict run/final two.csv --json").out;
  std::vector<i64> at;
  for (std::istringstream stream(json); stream;) {
    std::string line;
    if (std::getline(stream, line)) at.push_back(parse_json(line, "predict")["line"].get<i64>());
  }
  CHECK(at == std::vector<i64>{2, 4});
  shell.write("headless.csv", "my parcel is late\nthe app crashes\n");
  CHECK(probabilities("headless.csv --no-header").size() == 2);
  for (const auto& [arguments, told] : {std::pair("more.tsv", "without the column 'text'"),
                                        {"headless.csv", "say --no-header where that is a row"},
                                        {"--text-column body", "are for a file"},
                                        {"lines.txt --no-header", "are for tables"},
                                        {"table.csv --pairs", "--pair-column"}}) {
    const Answer refused = shell.minima(std::string("predict run/final ") + arguments);
    CHECK(refused.code == 2);
    CHECK(refused.err.find(told) != std::string::npos);
  }
}

TEST_CASE("a bad line of a file gets an empty answer where asked, and says which it is") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  shell.write("lines.txt", "my parcel\ncaf\xE9\nthe app crashes\n");
  const Answer refused = shell.minima("predict run/final lines.txt");
  CHECK(refused.code == 2);
  CHECK(std::ranges::count(refused.out, '\n') == 1);
  for (const char* told : {"lines.txt:2: ", "; --skip-bad-rows gives such a line an empty answer"})
    CHECK(refused.err.find(told) != std::string::npos);
  const Answer all = shell.minima("predict run/final lines.txt --skip-bad-rows");
  CHECK(all.code == 0);
  CHECK(std::ranges::count(all.out, '\n') == 3);
  CHECK(all.out.find("\n\n") != std::string::npos);
  shell.write("two.txt", "my parcel\ncaf\xE9\ncaf\xE8\n");
  CHECK(shell.minima("predict run/final two.txt --skip-bad-rows")
            .err.starts_with("2 bad lines without a label, the first: two.txt:2: "));
  std::istringstream json(shell.minima("predict run/final lines.txt --skip-bad-rows --json").out);
  std::string first, second;
  std::getline(json, first), std::getline(json, second);
  const Json bad = parse_json(second, "predict");
  CHECK(bad["line"] == 2);
  CHECK(bad["error"].get<std::string>().find("lines.txt:2: ") == 0);
}

TEST_CASE("predict and eval say how many texts are cut, have no word, or are not UTF-8") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  std::string many;
  for (int i = 0; i < 40; ++i) many += "parcel ";
  const Answer answer = shell.minima("predict run/final",
                                     "my parcel\n\n" + many + "\n \ncaf\xE9 is late\n荷物 配達\n");
  CHECK(answer.code == 0);
  CHECK(std::ranges::count(answer.out, '\n') == 6);
  for (const char* note :
       {"1 of 6 texts are cut at 16 tokens",
        "2 of 6 texts: no word in it, so that its label says nothing (the first in line 2)",
        "1 of 6 texts: no word that the vocabulary knows, so that its label says nothing (the "
        "first in line 6)",
        "1 of 6 texts: not valid UTF-8, and what is not was left out (the first in line 5)"})
    CHECK(answer.err.find(note) != std::string::npos);
  CHECK(shell.minima("predict run/final", "my parcel\n").err.empty());
  CHECK(shell.minima("predict run/final", "\n").err ==
        "1 of 1 text: no word in it, so that its label says nothing (the first in line 1)\n");
  shell.write("one.tsv", "text\tlabel\nmy parcel\tdelivery\nbad\n");
  for (const char* verb : {"predict", "eval"}) {
    const Answer one = shell.minima(fmt::format("{} run/final one.tsv --skip-bad-rows", verb));
    CHECK(one.err.starts_with("one.tsv: 1 bad row skipped; the first: one.tsv:3: "));
    CHECK(one.out.starts_with("1 text: accuracy ") == (verb[0] == 'e'));
  }
  shell.write("poor.tsv", "text\tlabel\nmy parcel\tdelivery\n \tdelivery\n荷物\tdelivery\n");
  const Answer evaluated = shell.minima("eval run/final poor.tsv");
  CHECK(evaluated.code == 0);
  for (const char* note :
       {"1 of 3 texts: no word in it, so that its label says nothing (the first in line 3)",
        "1 of 3 texts: no word that the vocabulary knows, so that its label "
        "says nothing (the first in line 4)"})
    CHECK(evaluated.err.find(note) != std::string::npos);
  CHECK(
      shell.minima("predict run/final --pairs", "parcel\tcaf\xE9\n").err.find("not valid UTF-8") !=
      std::string::npos);
  CHECK(shell.minima("predict run/final --pairs", "荷物\t配達\n")
            .err.find("1 of 1 text: no word that the vocabulary knows") != std::string::npos);
}

TEST_CASE("weights that give no finite logit are named, by predict and eval") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string weights = "run/final/model.safetensors";
  const SafetensorsFile file(shell.folder / weights);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, entry] : file.entries())
    tensors.push_back({name, name == "classifier.weight" || name == "pre_classifier.bias"
                                 ? Tensor::full(entry.shape, 3e38f)
                                 : file.read(name)});
  save_safetensors(shell.folder / "wild", tensors);
  std::filesystem::rename(shell.folder / "wild", shell.folder / weights);
  shell.write("text.tsv", "label\ttext\nbilling\tmy parcel is late\n");
  const Answer line = shell.minima("predict run/final", "my parcel is late\n");
  CHECK(line.code == 1);
  CHECK(line.out.empty());
  CHECK(line.err ==
        "minima: line 1: a logit is not finite; the weights of run/final are damaged\n");
  const Answer table = shell.minima("eval run/final text.tsv");
  CHECK(table.code == 1);
  CHECK(table.err.find("; the weights of run/final are damaged\n") != std::string::npos);
}

TEST_CASE("predict says where standard input looks like a table") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  for (const char* header : {"label,text", "text;label", "label\ttext"}) {
    CAPTURE(header);
    const Answer answer =
        shell.minima("predict run/final", std::string(header) + "\nmy parcel is late\n");
    CHECK(answer.code == 0);
    CHECK(std::ranges::count(answer.out, '\n') == 2);
    CHECK(answer.err.find("looks like a table's header; a table is given by its name") !=
          std::string::npos);
  }
  for (const char* line : {"text", "my parcel, in text"})
    CHECK(shell.minima("predict run/final", std::string(line) + " is late\n").err.empty());
}

TEST_CASE("a file that is given to tokenize is to be its standard input") {
  const Shell shell;
  shell.write("lines.txt", "my parcel is late\n");
  check_refused(shell, "tokenize --vocab vocab.txt lines.txt",
                {"lines.txt", "Lines come by standard input: < lines.txt"}, "");
}
