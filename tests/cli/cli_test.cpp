/// The program as a user calls it: exit codes, messages, what is left on the disk.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "core/file.hpp"
#include "core/json.hpp"
#include "core/safetensors.hpp"
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
                   const std::vector<std::string>& words, const std::string& out = " --out run") {
  CAPTURE(arguments);
  const Answer answer = shell.minima(arguments + out);
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
  check_refused(shell, "train --schedule one_cycle:pct_strat=0.3", {"pct_strat", "pct_start"});
  check_refused(shell, "train --schedule one_cycle:pct_start=2", {"pct_start", "2", "below 1"});
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

TEST_CASE("explain shows a step with its formulas, and refuses what does not fit") {
  const Shell shell;
  const Answer answer = shell.minima("explain adamw8bit --shape 4x300 --element 2,17 --json");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json step = parse_json(answer.out, "explain --json")["steps"][0];
  CHECK(step["element"] == 617);
  CHECK(step["slots"][0]["code"].is_number());
  CHECK(step["lines"][0]["letters"] == "β₁ * m + (1 − β₁) * g");
  const Answer text = shell.minima("explain adamw:lr=0.1 --weight 0.5 --gradient 0.2");
  CHECK(text.out.find("= 0.9 * 0 + 0.1 * 0.2") != std::string::npos);
  for (const char* wrong :
       {"--weight 1,2 --gradient 1", "--element 3", "--shape 0x3", "--shape 2x", "--weight 1,x",
        "--weight '1,2;3'", "--steps 0", "--weight 1 --shape 3"}) {
    CAPTURE(wrong);
    CHECK(shell.minima(std::string("explain adamw ") + wrong).code == 2);
  }
}

TEST_CASE("tokenize answers each line with ids, tokens and offsets in characters") {
  const Shell shell;
  shell.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##able\ncafe\n\"\n");
  const Answer plain = shell.minima("tokenize --vocab vocab.txt", "unable\n\nCAF\u00C9 \"x\n");
  CAPTURE(plain.err);
  CHECK(plain.code == 0);
  CHECK(plain.out ==
        "2 5 6 3\t[CLS] un ##able [SEP]\t0:0 0:2 2:6 0:0\n2 3\t[CLS] [SEP]\t0:0 0:0\n"
        "2 7 8 1 3\t[CLS] cafe \" [UNK] [SEP]\t0:0 0:4 5:6 6:7 0:0\n");
  const Answer json = shell.minima("tokenize --vocab vocab.txt --cased --json", "caf\xE9 cafe \"");
  CHECK(json.out ==
        "{\"ids\":[2,1,7,8,3],\"tokens\":[\"[CLS]\",\"[UNK]\",\"cafe\",\"\\\"\",\"[SEP]\"],"
        "\"offsets\":[[0,0],[0,3],[5,9],[10,11],[0,0]]}\n");
  const Answer pairs = shell.minima("tokenize --vocab vocab.txt --pairs --max-length 6",
                                    "un un un\tcafe cafe\nun\t\n");
  CHECK(pairs.out ==
        "2 5 5 3 7 3\t[CLS] un un [SEP] cafe [SEP]\t0:0 0:2 3:5 0:0 0:4 0:0\t0 0 0 0 1 1\n"
        "2 5 3\t[CLS] un [SEP]\t0:0 0:2 0:0\t0 0 0\n");

  const auto refused = [&](const std::string& arguments, const std::string& input,
                           const std::vector<std::string>& words) {
    const Answer answer = shell.minima("tokenize " + arguments, input);
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(std::ranges::count(answer.err, '\n') == 1);
    for (const std::string& word : words) CHECK(answer.err.find(word) != std::string::npos);
  };
  refused("", "", {"--vocab"});
  refused("--vocab none.txt", "", {"none.txt"});
  refused("--vocab vocab.txt --pairs", "un\tun\nun\n", {"line 2", "no tab"});
  refused("--vocab vocab.txt --max-length 1", "un\n", {"line 1", "maximum length of 1"});
  refused("--vocab vocab.txt --truncation only_first", "", {"--max-length"});
  refused("--vocab vocab.txt --max-length 9 --truncation only_second", "", {"--pairs"});
  refused("--vocab vocab.txt --pairs --max-length 4 --truncation only_first", "un\tun un un\n",
          {"line 1", "longest_first"});
  refused("--vocab vocab.txt --max-length 9 --truncation shortest", "", {"shortest"});
  refused("--vocab . --cased", "", {"--cased", "vocab.txt"});
}

TEST_CASE("data tells the classes, lengths and repeated texts of files and folders") {
  const Shell shell;
  shell.write("a.csv",
              "text,label\r\nsome text,spam\r\n\"Some, text!\",ham\r\nother,ham\r\nbad\r\n");
  check_refused(shell, "data a.csv", {"a.csv:5", "1 field, the header 2"}, "");
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

TEST_CASE("memory answers from sizes alone, and its measurement agrees") {
  const Shell shell;
  const Answer answer = shell.minima("memory --json");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json json = parse_json(answer.out, "memory --json");
  CHECK(json["parameters"] == 65'783'042);
  CHECK(json["tensors"] == 104);
  std::map<std::string, Json> optimizers;
  for (const Json& optimizer : json["optimizers"])
    optimizers[optimizer["name"].get<std::string>()] = optimizer;
  CHECK(optimizers["adamw"]["state_elements"] == 131'566'188);
  CHECK(optimizers["adamw"]["state_bytes"] == 526'264'752);
  CHECK(optimizers["adafactor"]["state_elements"] == 178'712);
  CHECK(optimizers["adamw8bit"]["scales"] == 513'432);
  CHECK(optimizers["came"]["state_elements"] == 66'078'048);
  CHECK(optimizers["adapm"]["momentum_saving"] >= 0.9);
  CHECK(optimizers["adapm:factored=true"]["state_saving"] >= 0.95);
  CHECK(optimizers.contains("came:state=block8"));

  const Answer scale = shell.minima("memory --scale 7b --optimizers adamw,adamw8bit --fits 100");
  CHECK(scale.code == 0);
  for (const char* part : {"7,001,230,082 parameters", "14,002,460,700", "yes", "no"})
    CHECK(scale.out.find(part) != std::string::npos);
  const Answer measured = shell.minima(
      "memory --measure --json --model tiny --vocabulary 500 --batch 4 --length 9 --threads 1");
  CAPTURE(measured.err);
  REQUIRE(measured.code == 0);
  const Json measurement = parse_json(measured.out, "--measure");
  for (const Json& optimizer : measurement["optimizers"])
    for (const char* bytes : {"state_bytes", "peak_bytes"})
      CHECK(optimizer[bytes] == optimizer["measured"][bytes]);
  const Answer table = shell.minima("memory --model tiny --state-table adamw8bit");
  CHECK(table.out.find("under 4096 elements") != std::string::npos);
}

TEST_CASE("memory refuses what it cannot count, in one line") {
  const Shell shell;
  const auto config = [&](const std::string& name, const std::string& sizes) {
    shell.write(name,
                "{\"model_type\": \"distilbert\", \"vocab_size\": 500, "
                "\"max_position_embeddings\": 64, \"hidden_dim\": 64, " +
                    sizes + "}");
  };
  config("good.json", "\"dim\": 32, \"n_heads\": 2, \"n_layers\": 1");
  config("deep.json", "\"dim\": 32, \"n_heads\": 2, \"n_layers\": 5000");
  config("wide.json", "\"dim\": 99999999999, \"n_heads\": 2, \"n_layers\": 1");
  config("heads.json", "\"dim\": 32, \"n_heads\": 5, \"n_layers\": 1");
  config("twice.json", "\"dim\": 32, \"dim\": 32, \"n_heads\": 2, \"n_layers\": 1");
  shell.write("gpt.json", "{\"model_type\": \"gpt2\", \"hidden_size\": 768}");
  shell.write("bert.json", "{\"model_type\": \"bert\", \"vocab_size\": 768}");
  std::filesystem::create_directory(shell.folder / "empty");
  CHECK(shell.minima("memory --model good.json --length 9").code == 0);
  const auto refused = [&](const std::string& arguments, const std::vector<std::string>& words) {
    check_refused(shell, "memory " + arguments, words, "");
  };
  refused("--model smal", {"smal", "small"});
  refused("--model missing.json", {"missing.json"});
  refused("--model empty", {"empty/config.json"});
  refused("--model gpt.json", {"gpt.json", "'gpt2'", "'distilbert'", "'bert'"});
  refused("--model bert.json", {"bert.json", "'max_position_embeddings'"});
  refused("--model deep.json", {"deep.json", "'n_layers'", "5000", "1000"});
  refused("--model wide.json", {"wide.json", "'dim'", "99999999999", "2147483648"});
  refused("--model heads.json", {"heads.json", "5 heads", "32"});
  refused("--model twice.json", {"twice.json", "'dim'", "twice"});
  refused("--dim 0", {"--dim is 0"});
  refused("--dim 1000000", {"--dim is 1000000", "65536"});
  refused("--vocabulary 1", {"--vocabulary is 1"});
  refused("--labels -3", {"--labels is -3"});
  refused("--heads 7", {"7 heads", "768"});
  refused("--batch 0", {"--batch is 0"});
  refused("--batch 2 --tokens 100", {"--batch", "--tokens"});
  refused("--batch 1000000 --length 512", {"512000000", "16777216"});
  refused("--length 513", {"513", "512", "--positions"});
  refused("--optimizers adamww", {"adamww", "'adamw'"});
  refused("--optimizers adamw:lrr=1", {"lrr", "lr"});
  refused("--optimizers adamw,adamw", {"adamw", "twice"});
  refused("--optimizers adafactor:lr=1", {"relative_step"});
  refused("--scale 7x", {"7x", "7b"});
  refused("--scale 1e40", {"1e40", "10t"});
  refused("--scale 7b --dim 64", {"--scale", "--dim"});
  refused("--scale 7b --model tiny", {"--scale", "--model"});
  refused("--scale 7b --measure", {"--scale", "--measure"});
  refused("--fits 0", {"--fits"});
  refused("--state-table adamz", {"adamz", "adam"});
  refused("--state-table adamw --measure", {"--state-table", "--measure"});
  refused("--mesure", {"--mesure", "--measure"});
}

TEST_CASE("a folder that cannot be written is a failure at run time, with its reason") {
  const Shell shell;
  shell.write("file", "");
  const Answer answer = shell.minima(std::string("train --out file/run") + kTiny);
  CHECK(answer.code == 1);
  CHECK(answer.err.find("file/run") != std::string::npos);
}

TEST_CASE("inspect opens the state that train wrote, compares two, and refuses what is none") {
  const Shell shell;
  for (const auto& [optimizer, run] :
       {std::pair{"adamw", "whole"}, {"adamw8bit:min_8bit_size=0", "eight"}}) {
    const Answer trained =
        shell.minima(fmt::format("train --optimizer {} --out {}{}", optimizer, run, kTiny));
    CAPTURE(trained.err);
    REQUIRE(trained.code == 0);
  }
  const Answer one = shell.minima("inspect eight/final --against whole/final --json");
  CAPTURE(one.err);
  REQUIRE(one.code == 0);
  const Json json = parse_json(one.out, "inspect --json");
  CHECK(json["optimizer"] == "adamw8bit");
  CHECK(json["slots"][0]["codes"]["histogram"].size() == 256);
  CHECK(json["against"]["common"].size() == json["slots"].size());
  i64 bytes = 0;
  for (const Json& slot : json["slots"]) bytes += slot["bytes"].get<i64>();
  CHECK(json["totals"]["total"]["bytes"] == bytes);

  const Answer table = shell.minima("inspect eight/final --slot exp_avg_sq --parameter bias");
  CHECK(table.code == 0);
  CHECK(table.out.find("/exp_avg_sq") != std::string::npos);
  CHECK(table.out.find("weight") == std::string::npos);
  const Answer two = shell.minima("inspect whole/final eight/final");
  CHECK(two.code == 0);
  CHECK(two.out.find("fp32, block8") != std::string::npos);

  const std::string state = read_file(shell.folder / "whole/final/optimizer.safetensors");
  shell.write("short.safetensors", state.substr(0, state.size() / 2));
  std::string bent = state;
  bent[state.size() - 100] ^= 4;
  shell.write("bent.safetensors", bent);
  for (const auto& [arguments, word] :
       {std::pair{"inspect short.safetensors", "short.safetensors"},
        {"inspect bent.safetensors", "checksum"},
        {"inspect whole/final/model.safetensors", "not an optimizer's state"},
        {"inspect nowhere", "nowhere"},
        {"inspect whole/final --slot exp_avg_sqr", "did you mean 'exp_avg_sq'?"},
        {"inspect whole/final --parameter nothing", "nothing"},
        {"inspect whole/final --against eight/final", "fp32"}}) {
    CAPTURE(arguments);
    const Answer refused = shell.minima(arguments);
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(std::ranges::count(refused.err, '\n') == 1);
    CHECK(refused.err.find(word) != std::string::npos);
  }
}

TEST_CASE("an optimizer is changed in mid-training, and it is said what became of its state") {
  const Shell shell;
  const Answer answer = shell.minima(std::string("train") + kTiny +
                                     " --accumulate 4 --clip-value 1 --lazy-rows --watch 2 --group "
                                     "'embeddings|bias:lr=1e-4' --switch 50%:adafactor --out run");
  CAPTURE(answer.err);
  CHECK(answer.code == 0);
  CHECK(answer.err.find("after step 3: adamw → adafactor") != std::string::npos);
  CHECK(answer.err.find("row means") != std::string::npos);
  CHECK(shell.exists("run/checkpoints/step-3/optimizer.safetensors"));
  CHECK(shell.exists("run/checkpoints/step-3/model.safetensors"));
  CHECK(read_file(shell.folder / "run/report.html").find("Changes of the optimizer") !=
        std::string::npos);
}

TEST_CASE("a wrong switch, group or number of batches is refused before anything is written") {
  const Shell shell;
  const std::string train = std::string("train") + kTiny;
  check_refused(shell, train + " --switch adafactor", {"switch 'adafactor'", "50%:"});
  check_refused(shell, train + " --switch 5:adafactr", {"adafactr", "adafactor"});
  check_refused(shell, train + " --group embeddings", {"group 'embeddings'", "options"});
  check_refused(shell, train + " --group embeddings:betas=1", {"betas", "beta1"});
  check_refused(shell, train + " --accumulate 0", {"accumulate is 0"});
  check_refused(shell, train + " --watch=-1", {"watch is -1"});
  check_refused(shell, train + " --clip-value=-1", {"clip-value is -1"});
  // What the data and the model must be known for is refused after they are loaded.
  for (const auto& [option, word] : {std::pair("--switch 99999:lion", "before the last"),
                                     std::pair("--group nowhere:lr=1", "'nowhere'")}) {
    const Answer answer = shell.minima(train + " " + option + " --out run");
    CHECK(answer.code == 2);
    CHECK(answer.err.find(word) != std::string::npos);
    CHECK_FALSE(shell.exists("run"));
  }
}

TEST_CASE("a model directory is fine-tuned by --model, and convert writes it in other forms") {
  const Shell shell;
  const std::string small =
      " --data builtin --epochs 1 --optimizer sgd:lr=0.01 --threads 1 --watch 0";
  REQUIRE(shell.minima("train --model tiny --pooling first --layers 1 --out one" + small).code ==
          0);
  const Answer again = shell.minima("train --model one/final --out two --json" + small);
  CAPTURE(again.err);
  REQUIRE(again.code == 0);
  CHECK(again.err.find("made anew") == std::string::npos);  // the same labels: the same head
  CHECK(shell.exists("two/final/model.safetensors"));
  check_refused(shell, "train --model one/final --dim 32", {"one/final", "trained already"});
  check_refused(shell, "train --model one", {"one: is a run's folder", "one/final"});

  const Answer bare = shell.minima("convert one/final bare --dtype bf16 --encoder-only --json");
  CAPTURE(bare.err);
  REQUIRE(bare.code == 0);
  const Json report = parse_json(bare.out, "convert");
  CHECK(report["left_out"].size() == 4);
  CHECK(report["became_infinite"] == 0);
  const Answer third = shell.minima("train --model bare --out three" + small);
  REQUIRE(third.code == 0);
  CHECK(third.err.find("bare: made anew: classifier.bias (not in the checkpoint)") !=
        std::string::npos);
  check_refused(shell, "eval bare input", {"bare", "has no head", "train --model bare"}, "");
  CHECK(shell.minima("convert one/final/model.safetensors x.safetensors --dtype f16").code == 0);
  check_refused(shell, "convert x.safetensors y", {"config.json", "--like"}, "");
  check_refused(shell, "convert none y.safetensors", {"none", "cannot be opened"}, "");
}

TEST_CASE("pretrain makes from plain text what train --model goes on with") {
  const Shell shell;
  std::string texts, labelled = "label\ttext\n";
  for (int i = 0; i < 60; ++i) {
    texts += fmt::format("{} number {} of many\n", i % 2 ? "an apple" : "a pear", i);
    labelled += fmt::format("{}\t{} number {} of many\n", i % 2, i % 2 ? "apples" : "pears", i);
  }
  shell.write("texts.txt", texts);
  shell.write("labelled.tsv", labelled);
  check_refused(shell, "pretrain --data texts.txt --mask-rate 2", {"rate is 2"});
  check_refused(shell, "pretrain --data nothing.txt", {"nothing.txt", "cannot be read"});
  check_refused(shell, "train --layer-decay 0", {"layer-decay is 0"});
  check_refused(shell, "train --word-dropout 1", {"word-dropout is 1"});
  const Answer made = shell.minima(
      std::string("pretrain --data texts.txt --out pre --json --mask-rate 0.3 --whole-words") +
      kTiny);
  CAPTURE(made.err);
  REQUIRE(made.code == 0);
  const Json report = parse_json(made.out, "pretrain --json");
  CHECK(report["model"] == "pre/final");
  CHECK(report["dev"]["perplexity"] > 1);
  const Json config = read_json(shell.folder / "pre/final/config.json");
  CHECK(config["architectures"][0] == "DistilBertForMaskedLM");

  const Answer trained = shell.minima(
      "train --model pre/final --data labelled.tsv --out run --epochs 1 --threads 1 --freeze "
      "embeddings --layer-decay 0.9 --word-dropout 0.1 --json");
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  const Json run = parse_json(trained.out, "train --json");
  CHECK(run["spec"] == "adamw:lr=0.0001");  // a tenth of what suits random weights
  // What is frozen has no state, and is what it was.
  for (const Json& group : run["options"]["groups"])
    for (const Json& name : group["parameters"])
      CHECK(name.get<std::string>().find("embeddings") == std::string::npos);
  const std::string words = "distilbert.embeddings.word_embeddings.weight";
  const Tensor before = SafetensorsFile(shell.folder / "pre/final/model.safetensors").read(words),
               after = SafetensorsFile(shell.folder / "run/final/model.safetensors").read(words);
  test::check_close(after, before, {0, 0});
}

TEST_CASE("predict answers a line as soon as it is typed, and keeps the order of many") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string talk = fmt::format(
      "cd '{}' && mkfifo asked answered && timeout 100 bash -c \"'{}' predict run/final < asked > "
      "answered & "
      "exec 3> asked 4< answered; for text in 'where is my parcel' 'the app crashes'; do "
      "echo \\$text >&3; read -r answer <&4; echo \\$answer; done; exec 3>&-; wait\" > said",
      shell.folder.string(), MINIMA_PROGRAM);
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

TEST_CASE(
    "wrong options and mixes of training are refused before anything is loaded, with the way out") {
  const Shell shell;
  shell.write("unknown.json", R"({"epochz": 3})");
  shell.write("twice.json", R"({"epochs": 3, "epochs": 4})");
  shell.write("list.json", "[3]");
  shell.write("kind.json", R"({"epochs": {"a": 1}})");
  shell.write("flag.json", R"({"cased": "yes"})");
  shell.write("value.json", R"({"epochs": "many"})");
  struct Refusal {
    const char* arguments;
    std::vector<std::string> words;
  };
  // The data do not exist: whoever loads them would complain about that.
  const std::vector<Refusal> table = {
      {"train --epochs 0", {"epochs is 0", "between 1"}},
      {"train --epochs many", {"--epochs", "many"}},
      {"train --epochs 3 --steps 10", {"--epochs", "--steps", "exclude"}},
      {"train --steps 0", {"--steps is 0", "at least 1"}},
      {"train --minutes 0", {"--minutes is 0", "leave it out"}},
      {"train --minutes=-1", {"--minutes is -1"}},
      {"train --batch 8 --tokens 100", {"--batch", "--tokens", "exclude"}},
      {"train --batch=-1", {"batch", "positive"}},
      {"train --accumulate 0", {"accumulate is 0", "between 1"}},
      {"train --warmup 1", {"warmup is 1", "below 1"}},
      {"train --warmup=-0.1", {"warmup is -0.1", "at least 0"}},
      {"train --clip=-1", {"clip is -1", "0: not clipped"}},
      {"train --clip-value=-1", {"clip-value is -1", "0: not cut"}},
      {"train --watch=-1", {"watch is -1", "0: never"}},
      {"train --patience=-1", {"patience is -1", "0: never"}},
      {"train --evaluate-every=-5", {"evaluate-every is -5", "0: after each epoch"}},
      {"train --save-every=-1", {"save-every is -1", "0: only when interrupted"}},
      {"train --keep=-1", {"keep is -1", "0: all"}},
      {"train --metric accuracyy", {"--metric", "accuracyy", "accuracy"}},
      {"train --non-finite ignore", {"--non-finite", "ignore", "lower-scale"}},
      {"train --precision int8", {"--precision", "int8", "bf16"}},
      {"train --schedule liner", {"liner", "'linear'"}},
      {"train --schedule linear:minimum=0.1", {"minimum", "has none"}},
      {"train --schedule one_cycle:pct_start=2", {"pct_start", "below 1"}},
      {"train --optimizer adamv", {"adamv", "adamw"}},
      {"train --optimizer adamw:lrr=1", {"lrr", "lr"}},
      {"train --optimizer adafactor:lr=1e-3", {"relative_step"}},
      {"train --optimizer adamw --state int4", {"int4", "block8"}},
      {"train --optimizer adamw:lr=1e-3 --lr 1e-2", {"lr", "twice"}},
      {"train --lr=-1", {"lr", "-1"}},
      {"train --lr nan", {"lr", "nan"}},
      {"train --switch 50%", {"an optimizer must follow", "50%:adamw8bit"}},
      {"train --switch 150%:adamw", {"150%", "below 100"}},
      {"train --switch 50%:adamv", {"adamv", "adamw"}},
      {"train --switch 0:adamw", {"at least 1"}},
      {"train --group bias", {"group 'bias'", "options"}},
      {"train --group bias:lrr=1", {"lrr", "lr"}},
      {"train --dropout 1", {"dropout is 1", "below 1"}},
      {"train --heads 3", {"3 heads", "128"}},
      {"train --layers 0", {"layers is 0", "from 1"}},
      {"train --max-length 1", {"max-length is 1", "between 2"}},
      {"train --threads=-2", {"threads is -2", "all cores"}},
      {"train --model smal", {"smal", "small"}},
      {"train --pooling last", {"--pooling", "last", "mean"}},
      {"train --seed=-1", {"--seed", "range"}},
      {"train --epochz 3", {"--epochz", "--epochs"}},
      {"train --resume a --config b", {"--resume", "--config", "exclude"}},
      {"train --config missing.json", {"missing.json", "cannot be opened"}},
      {"train --config unknown.json", {"unknown.json", "'epochz'", "'epochs'"}},
      {"train --config twice.json", {"twice.json", "epochs"}},
      {"train --config list.json", {"list.json", "no JSON object"}},
      {"train --config kind.json", {"kind.json", "'epochs'", "a number, a word"}},
      {"train --config flag.json", {"flag.json", "'cased'", "true or false"}},
      {"train --config value.json", {"--epochs", "many"}},
      {"train --find-lr --lr 1", {"--find-lr", "--lr", "exclude"}},
      {"train --find-lr --switch 5:adamw", {"--find-lr", "--switch", "exclude"}},
      {"compare --tune 0", {"0 learning rates", "between 1"}},
      {"compare --seeds 0", {"0 seeds", "between 1"}},
      {"compare --optimizers adamw,adamw", {"adamw", "named twice"}},
      {"compare --optimizers adamw,adafactorr", {"adafactorr", "adafactor"}},
      {"compare --lr 1", {"--lr", "did you mean"}},
  };
  CHECK(table.size() >= 40);
  for (const Refusal& refusal : table) {
    const std::string arguments = std::string(refusal.arguments) + " --data nowhere.tsv";
    check_refused(shell, arguments, refusal.words);
    CHECK(read_file(shell.folder / "err").find("nowhere.tsv") == std::string::npos);
  }
  check_refused(shell, "train --resume a --out b", {"--resume", "--out", "exclude"}, "");
  check_refused(shell, "train --resume nowhere", {"nowhere/run.json", "cannot be opened"}, "");
}

TEST_CASE(
    "a configuration file stands for options, the command line stands over it, and run.json keeps "
    "both") {
  const Shell shell;
  shell.write("options.json",
              R"({"model": "tiny", "dim": 16, "hidden": 16, "max-length": 16, "threads": 1,
                                  "epochs": 3, "optimizer": "lion", "group": ["bias:lr=0", "embeddings:lr=1e-5"]})");
  const Answer answer = shell.minima("train --config options.json --epochs 1 --batch 64 --out run");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.err.find("\"optimizer\":\"lion\"") != std::string::npos);
  const Json run = read_json(shell.folder / "run/run.json");
  CHECK(run["training"]["epochs"] == 1);
  CHECK(run["training"]["batch"] == "64 texts");
  CHECK(run["training"]["groups"].size() == 2);
  CHECK(run["optimizer"]["optimizer"] == "lion");
  // What was resolved is a configuration again.
  shell.write("again.json", run["arguments"].dump());
  REQUIRE(shell.minima("train --config again.json --out again").code == 0);
  CHECK(read_json(shell.folder / "again/run.json")["arguments"] == run["arguments"]);
  CHECK(read_file(shell.folder / "again/final/model.safetensors") ==
        read_file(shell.folder / "run/final/model.safetensors"));
}

TEST_CASE("a run is resumed by the program, with its own options and no others") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train") + kTiny + " --batch 16 --out whole").code == 0);
  const std::string saving = std::string("train") + kTiny + " --batch 16 --save-every 10 --out run";
  REQUIRE(shell.minima(saving).code == 0);
  // As if it had been killed after its last checkpoint.
  std::filesystem::remove_all(shell.folder / "run/final");
  const Answer other = shell.minima("train --resume run --batch 8");
  CHECK(other.code == 2);
  CHECK(other.err.find("--batch is 8 here, 16 in") != std::string::npos);
  CHECK(shell.minima("train --resume run --lr 1").err.find("--lr") != std::string::npos);
  const Answer again = shell.minima(saving);
  CHECK(again.code == 2);
  CHECK(again.err.find("--resume run") != std::string::npos);
  const Answer resumed = shell.minima("train --resume run --threads 2 --save-every 0");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.err.find("going on from run/checkpoints/step-40") != std::string::npos);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
  CHECK(read_file(shell.folder / "run/final/optimizer.safetensors") ==
        read_file(shell.folder / "whole/final/optimizer.safetensors"));
}

TEST_CASE("Ctrl-C saves and stops, and the run is as if it had not been") {
  const Shell shell;
  const std::string train = std::string(kTiny) + " --epochs 40 --batch 4 --accumulate 2";
  const std::string epochs =
      train.substr(0, train.find(" --epochs 1")) + train.substr(train.find(" --epochs 1") + 11);
  // The shell waits for the first line of metrics, then interrupts.
  shell.write("interrupt.sh",
              fmt::format("cd '{}'\n'{}' train{} --out run > out 2> err &\nchild=$!\n"
                          "while [ ! -s run/metrics.jsonl ]; do kill -0 $child || exit 9; "
                          "sleep 0.02; done\nkill -INT $child\nwait $child\n",
                          shell.folder.string(), MINIMA_PROGRAM, epochs));
  // With job control (-m), else the shell would have its child ignore the interrupt.
  const int status =
      std::system(fmt::format("bash -m '{}/interrupt.sh'", shell.folder.string()).c_str());
  const std::string said = read_file(shell.folder / "err");
  CAPTURE(said);
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(said.find("train --resume run") != std::string::npos);
  CHECK_FALSE(shell.exists("run/final"));
  REQUIRE(shell.minima("train --resume run").code == 0);
  REQUIRE(shell.minima("train" + epochs + " --out whole").code == 0);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
}
