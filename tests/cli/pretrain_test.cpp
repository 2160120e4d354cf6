/// minima pretrain.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "core/text/grouped.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("pretrain makes from plain text what train --model goes on with") {
  const Shell shell;
  std::string texts, labelled = "label\ttext\n";
  for (int i = 0; i < 60; ++i) {
    texts += fmt::format("{} number {} of many\n", i % 2 ? "an apple" : "a pear", i);
    labelled += fmt::format("{}\t{} number {} of many\n", i % 2, i % 2 ? "apples" : "pears", i);
  }
  shell.write("texts.txt", texts);
  shell.write("labelled.tsv", labelled);
  check_refused(shell, "pretrain --data texts.txt --mask-rate 2", {"--mask-rate) is 2"});
  check_refused(shell, "pretrain --data nothing.txt", {"nothing.txt", "there is no 'nothing.txt'"});
  check_refused(shell, "train --layer-decay 0", {"layer-decay is 0"});
  check_refused(shell, "train --word-dropout 1", {"word-dropout is 1"});
  const Json report = json_of(
      shell,
      std::string("pretrain --data texts.txt --out pre --json --mask-rate 0.3 --whole-words") +
          kTiny);
  CHECK(report["model"] == "pre/final");
  CHECK(read_json(shell.folder / "pre/run.json")["spec"] == "adamw:lr=0.001");  // for reports
  CHECK(report["dev"]["perplexity"] > 1);
  CHECK(report["epochs"] == 1);
  CHECK(report["tokens"] > 60 * 7);
  const std::string pretrain = std::string("pretrain --data texts.txt") + kTiny;
  const Answer same = shell.minima(pretrain + " --mask-rate 0.3 --whole-words --out same");
  const Json& dev = report["dev"];
  CHECK(contains(same.out, fmt::format("dev loss {:.3f}, perplexity {:.1f}, {:.1f} % of the hidden "
                                       "tokens told rightly\nmodel: same/final\n",
                                       dev["loss"].get<double>(), dev["perplexity"].get<double>(),
                                       100 * dev["accuracy"].get<double>())));
  CHECK(contains(same.err,
                 fmt::format("{} parameters, 57 texts of {} tokens\n",
                             report["parameters"].get<i64>(), report["tokens"].get<i64>())));
  // Parts of names are those of a language model.
  CHECK(shell
            .minima(pretrain +
                    " --freeze vocab_transform --optimizer adamw:bf16=vocab_layer_norm --out named")
            .code == 0);
  const Json other = json_of(
      shell, std::string("pretrain --data texts.txt --whole-words --lr 1e-4 --round-tokens 8 "
                         "--out other --json") +
                 kTinyModel);
  CHECK(contains(read_file(shell.folder / "err"), "--round-tokens is for a GPU"));
  CHECK(other["epochs"] == 20);
  CHECK(other["dev"]["loss"] != dev["loss"]);
  CHECK(read_json(shell.folder / "other/run.json")["spec"] == "adamw:lr=0.0001");
  CHECK(other["vocabulary"] == read_json(shell.folder / "other/final/config.json")["vocab_size"]);
  CHECK(report["report"] == "pre/report.html");
  for (const char* measured : {"<h3>Peak memory</h3>", "<dt>processor</dt>", ">the loop</th>"})
    CHECK(read_file(shell.folder / "pre/report.html").find(measured) != std::string::npos);
  CHECK(shell.minima("inspect pre/final").code == 0);
  std::set<double> losses;  // of the same weights and texts, for each seed with other masks
  for (const int seed : {1, 2})
    losses.insert(json_of(shell, fmt::format("pretrain --data texts.txt --model pre/final --lr 0 "
                                             "--steps 1 --json --seed {0} --out seed-{0}",
                                             seed))["dev"]["loss"]
                      .get<double>());
  CHECK(losses.size() == 2);
  REQUIRE(shell.minima("report pre --out page").code == 0);
  CHECK(read_file(shell.folder / "page/report.html")
            .find(fmt::format("masked language model tiny, {} parameters",
                              grouped(report["parameters"].get<i64>()))) != std::string::npos);
  const Json config = read_json(shell.folder / "pre/final/config.json");
  CHECK(config["architectures"][0] == "DistilBertForMaskedLM");
  CHECK(read_json(shell.folder / "pre/run.json")["config"] == config);
  check_refused(shell, "train --config pre/run.json",
                {"has options of minima pretrain, not of minima train"});

  std::filesystem::create_directory(shell.folder / "set");
  shell.write("set/train.txt", texts);
  shell.write("lines.of.text", texts);
  for (const char* options : {"set --out folder", "lines.of.text --plain-text --out file"})
    CHECK(shell.minima(fmt::format("pretrain --data {}", options) + kTiny).code == 0);
  check_refused(shell, "pretrain --data lines.of.text",
                {"lines.of.text:1", "'text'", "--plain-text"});

  shell.write("set/dev.txt", "\u4E2D \u6587\n");
  const Answer untold = shell.minima("pretrain --data set --out untold" + std::string(kTiny));
  CHECK(untold.code == 0);
  CHECK(untold.err.find("nothing is evaluated: the 1 dev texts have no token to hide") !=
        std::string::npos);

  const Json run = json_of(
      shell,
      "train --model pre/final --data labelled.tsv --out run --epochs 1 --threads 1 --freeze "
      "embeddings --layer-decay 0.9 --word-dropout 0.1 --json");
  CHECK(run["spec"] == "adamw:lr=0.0005");  // a tenth of what suits random weights
  // What is frozen has no state, and is what it was.
  for (const Json& group : run["options"]["groups"])
    for (const Json& name : group["parameters"])
      CHECK(name.get<std::string>().find("embeddings") == std::string::npos);
  const std::string words = "distilbert.embeddings.word_embeddings.weight";
  const Tensor before = SafetensorsFile(shell.folder / "pre/final/model.safetensors").read(words),
               after = SafetensorsFile(shell.folder / "run/final/model.safetensors").read(words);
  test::check_close(after, before, {0, 0});
}

TEST_CASE(
    "words that the vocabulary does not know are told, and cannot be all there is to learn from") {
  const Shell shell;
  std::string texts, labelled = "label\ttext\n";
  std::string order = "111222222222";  // a quarter "one"; each text another order
  for (int i = 0; i < 40; ++i, std::ranges::next_permutation(order)) {
    std::string text;
    for (const char word : order) text += word == '1' ? "one " : "two ";
    texts += text + "\n";
    labelled += fmt::format("{}\t{}\n", i % 2, text);
  }
  shell.write("texts.txt", texts);
  shell.write("labelled.tsv", labelled);
  const std::string special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  shell.write("none.txt", special + "three\n");
  shell.write("some.txt", special + "one\n");
  shell.write("all.txt", special + "one\ntwo\n");
  const std::string pretrain = std::string("pretrain --data texts.txt") + kTiny + " --vocab ",
                    train = std::string("train --data labelled.tsv") + kTiny + " --vocab ";
  check_refused(shell, pretrain + "none.txt",
                {"38 training texts", "no token to hide", "vocabulary"});
  const auto told = [&](const std::string& command, const std::string& out) {
    const Answer answer = shell.minima(command + " --out " + out);
    CAPTURE(answer.err);
    CHECK(answer.code == 0);
    return answer.err.find("warning: 75 % of the tokens to learn from are [UNK]") !=
           std::string::npos;
  };
  CHECK(told(pretrain + "some.txt", "a"));
  CHECK_FALSE(told(pretrain + "all.txt", "b"));
  CHECK(told(train + "some.txt", "c"));
  CHECK_FALSE(told(train + "all.txt", "d"));
}

TEST_CASE(
    "pretrain tells that nothing was learned or that the time was up, and leaves a page of what "
    "has "
    "failed") {
  const Shell shell;
  std::string texts;
  for (int i = 0; i < 60; ++i) texts += fmt::format("{} number {}\n", i % 2 ? "apple" : "pear", i);
  shell.write("texts.txt", texts);
  const std::string command = std::string("pretrain --data texts.txt --clip 0") + kTiny;
  const Answer poor = shell.minima(command + " --optimizer sgd:lr=3 --out poor");
  CAPTURE(poor.out);
  CAPTURE(poor.err);
  REQUIRE(poor.code == 0);
  CHECK(poor.out.find("that of guessing among") != std::string::npos);
  const Answer brief = shell.minima(command + " --minutes 0.000001 --out brief");
  REQUIRE(brief.code == 0);
  CHECK(brief.out.find("the time is up; go on without a limit: minima pretrain --resume brief "
                       "--minutes 0\n") != std::string::npos);
  CHECK(read_file(shell.folder / "brief/report.html").find("the time was up after 1 of ") !=
        std::string::npos);
  const Answer failed = shell.minima(command + " --warmup 0 --optimizer sgd:lr=1e37 --out failed");
  CAPTURE(failed.err);
  REQUIRE(failed.code == 1);
  CHECK(failed.err.find("report: failed/report.html") != std::string::npos);
  const std::string page = read_file(shell.folder / "failed/report.html");
  CHECK(page.find("masked language model tiny") != std::string::npos);
  CHECK(page.find("failed: ") != std::string::npos);
}

TEST_CASE("pretrain tells of held-out texts that it trains on") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "set");
  shell.write("set/train.txt", "an apple\na pear\na plum\n");
  shell.write("set/dev.txt", "A pear.\na cherry\n");
  const Answer answer = shell.minima("pretrain --data set --out run" + std::string(kTiny));
  CAPTURE(answer.err);
  CHECK(answer.code == 0);
  CHECK(answer.err.find(
            "warning: 1 of 2 dev texts are training texts too, but for case and punctuation") !=
        std::string::npos);
}
