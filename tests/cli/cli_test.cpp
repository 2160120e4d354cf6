/// The program as a user calls it: exit codes, messages, what is left on the disk.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>

#include "core/file.hpp"
#include "core/json.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

struct Answer {
  int code;
  std::string out, err;
};

class Shell {
 public:
  Shell()
      : folder(std::filesystem::temp_directory_path() / fmt::format("minima-cli-{}", ::getpid())) {
    std::filesystem::create_directories(folder);
  }
  ~Shell() { std::filesystem::remove_all(folder); }

  /// Runs `minima ARGUMENTS` in the folder, with `input` on standard input and, where given, a
  /// variable of the environment set.
  Answer minima(const std::string& arguments, const std::string& input = "",
                const std::string& setting = "") const {
    write("input", input);
    const std::string command = fmt::format("cd '{}' && {} '{}' {} < input > out 2> err",
                                            folder.string(), setting, MINIMA_PROGRAM, arguments);
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), read_file(folder / "out"), read_file(folder / "err")};
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(folder / name); }

  const std::filesystem::path folder;
};

/// Refused: exit code 2, one line that holds all of `words`, nothing on standard output, no run folder.
void check_refused(const Shell& shell, const std::string& arguments,
                   const std::vector<std::string>& words) {
  CAPTURE(arguments);
  const Answer answer = shell.minima(arguments + " --out run");
  CAPTURE(answer.err);
  CHECK(answer.code == 2);
  CHECK(answer.out.empty());
  CHECK(std::ranges::count(answer.err, '\n') == 1);
  for (const std::string& word : words) {
    CAPTURE(word);
    CHECK(answer.err.find(word) != std::string::npos);
  }
  CHECK_FALSE(shell.exists("run"));
}

const char* const kTiny =
    " --model tiny --dim 16 --hidden 16 --epochs 1 --max-length 16 --threads 1";

}  // namespace

TEST_CASE("a number that does not fit is refused, not bent") {
  const Shell shell;
  for (const char* wrong : {"--seed=-1", "--seed 99999999999999999999",
                            "--batch 99999999999999999999", "--layers 100000000000"})
    check_refused(shell, std::string("train") + kTiny + " " + wrong, {"range"});
}

TEST_CASE("what surroundings lack is said before anything is loaded") {
  const Shell shell;
  for (const char* setting : {"MINIMA_BLAS=/nowhere", "MINIMA_VECTOR_UNIT=nothing"}) {
    CAPTURE(setting);
    const Answer answer = shell.minima(std::string("train") + kTiny + " --out run", "", setting);
    CHECK((answer.code == 1 || answer.code == 2));
    CHECK(std::ranges::count(answer.err, '\n') <= 2);
    CHECK(answer.err.starts_with("minima: "));
    CHECK_FALSE(shell.exists("run"));
  }
}

TEST_CASE("bad data is refused in one line that says where and why") {
  const Shell shell;
  std::string good = "label\ttext\n";
  for (int i = 0; i < 60; ++i)
    good += fmt::format("{}\ttext number {} of class {}\n", i % 2, i, i % 2);
  shell.write("empty.tsv", "");
  shell.write("header.tsv", "label\ttext\n");
  shell.write("one.tsv",
              "label\ttext\n0\ta\n0\tb\n0\tc\n0\td\n0\te\n0\tf\n0\tg\n0\th\n0\ti\n0\tj\n0\tk\n");
  shell.write("notab.tsv", good + "no tab here\n");
  shell.write("utf8.tsv", good + "1\tbroken \xff\xfe here\n");
  shell.write("long.tsv", good + "1\t" + std::string(10 << 20, 'a') + "\n");
  const std::string train = std::string("train") + kTiny + " --data ";
  check_refused(shell, train + "missing.tsv", {"missing.tsv"});
  check_refused(shell, train + std::string(300, 'x'), {"there is no"});
  check_refused(shell, train + "empty.tsv", {"empty.tsv", "empty"});
  check_refused(shell, train + "header.tsv", {"header.tsv"});
  check_refused(shell, train + "one.tsv", {"one.tsv", "class"});
  check_refused(shell, train + "notab.tsv", {"notab.tsv:62", "tab"});
  check_refused(shell, train + "utf8.tsv", {"utf8.tsv:62", "UTF-8"});
  check_refused(shell, train + "long.tsv", {"long.tsv:62", "10485762"});

  std::filesystem::create_directory(shell.folder / "set");
  shell.write("set/train.tsv", good);
  shell.write("set/dev.tsv", "label\ttext\n0\tfine\n2\tunseen\n");
  shell.write("set/test.tsv", good);
  check_refused(shell, train + "set", {"dev.tsv:3", "2"});
}

TEST_CASE("bad options are refused in one line that names the way out") {
  const Shell shell;
  check_refused(shell, "train --epochz 3", {"--epochz", "--epochs"});
  check_refused(shell, "train --optimizer adamv", {"adamv", "adamw"});
  check_refused(shell, "train --optimizer adamw:lrr=1", {"lrr", "lr"});
  check_refused(shell, "compare --optimizers adamw,adafactorr", {"adafactorr", "adafactor"});
  check_refused(shell, "compare --optimizers adafactor:lr=1e-3", {"relative_step"});
  check_refused(shell, "train --model smal", {"smal", "small"});
  check_refused(shell, "train --heads 3", {"3 heads", "128"});
  check_refused(shell, "train --batch 8 --tokens 100", {"--batch", "--tokens"});
  check_refused(shell, "train --epochs 0", {"epochs"});
  check_refused(shell, "train --lr -1", {"lr", "-1"});
  check_refused(shell, "train --dropout 1", {"dropout"});
  check_refused(shell, "train --schedule liner", {"liner", "linear"});
  check_refused(shell, "train --pooling last", {"pooling"});
  check_refused(shell, "train --threads -2", {"threads"});
  check_refused(shell, "train --vocabulary 10", {"10"});
  const Answer verb = shell.minima("trian");
  CHECK(verb.code == 2);
  CHECK(verb.err.find("train") != std::string::npos);
}

TEST_CASE("train writes a model that eval and predict read, and --json is one document") {
  const Shell shell;
  const Answer trained = shell.minima(std::string("train --json --out run") + kTiny);
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  const Json record = parse_json(trained.out, "train --json");
  CHECK(record["optimizer"] == "adamw");
  CHECK(record["model"] == "run/final");

  shell.write("some.tsv", "label\ttext\nbilling\tI was charged twice\n1\tMy parcel has not come\n");
  const Answer evaluated = shell.minima("eval run/final some.tsv --json");
  CAPTURE(evaluated.err);
  REQUIRE(evaluated.code == 0);
  CHECK(parse_json(evaluated.out, "eval --json")["confusion"].size() == 6);
  shell.write("bad.tsv", "label\ttext\nbilling\tx\nbiling\tI was charged twice\n");
  const Answer unknown = shell.minima("eval run/final bad.tsv");
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("bad.tsv:3: label 'biling'") != std::string::npos);

  const Answer predicted =
      shell.minima("predict run/final", "where is my parcel?\n\nthe app crashes\n\xff\xfe\n");
  REQUIRE(predicted.code == 0);
  CHECK(std::ranges::count(predicted.out, '\n') == 4);
  const Answer detailed =
      shell.minima("predict run/final --json", "where is my parcel?\nthe app crashes");
  std::istringstream lines(detailed.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const Json answered = parse_json(line, "predict --json");
    double sum = 0;
    for (const auto& [label, probability] : answered["probabilities"].items())
      sum += probability.get<double>();
    CHECK(sum == doctest::Approx(1));
  }
  CHECK(count == 2);
}

TEST_CASE("compare prints the table, and with --json the documented fields") {
  const Shell shell;
  const Answer answer = shell.minima(
      std::string("compare --json --seeds 2 --out run --optimizers adamw,adafactor,adamw8bit") +
      kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json json = parse_json(answer.out, "compare --json");
  CHECK(json["model"]["parameters"].get<i64>() > 1000);
  REQUIRE(json["runs"].size() == 6);
  for (const char* key :
       {"optimizer", "seed", "state_elements", "state_bytes", "state_bytes_predicted", "step_ms",
        "tokens_per_second", "peak_bytes", "dev", "test", "train_loss"})
    CHECK(json["runs"][0].contains(key));
  CHECK(shell.exists("run/report.html"));
  const Answer table = shell.minima(std::string("compare --out run2") + kTiny);
  CHECK(table.out.find("adamw8bit") != std::string::npos);
  CHECK(table.out.find("bag of words") != std::string::npos);
}

TEST_CASE("a folder that cannot be written is a failure at run time, with its reason") {
  const Shell shell;
  shell.write("file", "");
  const Answer answer = shell.minima(std::string("train --out file/run") + kTiny);
  CHECK(answer.code == 1);
  CHECK(answer.err.find("file/run") != std::string::npos);
}
