/// minima train: what it refuses, what it writes.
#include <fmt/format.h>

#include <sstream>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "core/ops/matmul.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE(
    "train says what its figures are worth: classes that are not judged, weights out of "
    "proportion, a bag of words") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 100; ++i) rows += fmt::format("{}\tnumber {}\n", i % 2 ? "odd" : "even", i);
  shell.write("rare.tsv", rows + "rare\tthe only one\n\n");
  const std::string train = std::string("train --data rare.tsv") + kTiny + " --out ";
  const Answer plain = shell.minima(train + "plain");
  CHECK(plain.code == 0);
  CHECK(plain.err.find("no text of dev or test is of class 'rare'") != std::string::npos);
  CHECK(plain.err.find("--class-weights") == std::string::npos);
  CHECK(plain.out.find("\nfor scale: a bag of words (naive Bayes) has ") != std::string::npos);
  const Answer heavy = shell.minima(train + "heavy --class-weights balanced --label-smoothing 0.1");
  CHECK(heavy.err.find("'rare' counts 27, 40 times the median class") != std::string::npos);
  CHECK(heavy.err.find("by label smoothing it has a part") != std::string::npos);
  const Answer numbers = shell.minima(train + "numbers --class-weights 1,2.5,0.1");
  CHECK(numbers.err.find("--class-weights, as the classes are numbered: 'even' 1, 'odd' 2.5, "
                         "'rare' 0.1\n") != std::string::npos);
  // The table is data again: what the model says of it is what it said of the test texts.
  const std::string table = read_file(shell.folder / "plain/predictions.csv");
  CHECK(std::ranges::count(table, '\n') == 11);
  const Json run = read_json(shell.folder / "plain/comparison.json")["runs"][0];
  const auto percent = [&](const char* split, const char* score) {
    return fmt::format("{:.1f} %", 100 * run[split][score].get<double>());
  };
  CHECK(contains(plain.out,
                 fmt::format("\nbest epoch 1: dev accuracy {}, test accuracy {}, macro-F1 {}, loss "
                             "{:.3f}\n",
                             percent("dev", "accuracy"), percent("test", "accuracy"),
                             percent("test", "macro_f1"), run["test"]["loss"].get<double>())));
  CHECK(contains(plain.err, fmt::format("  dev loss {:.3f}  dev accuracy {}  macro-F1 {}  ",
                                        run["dev"]["loss"].get<double>(),
                                        percent("dev", "accuracy"), percent("dev", "macro_f1"))));
  CHECK(contains(plain.err, "rare.tsv, dev and test drawn by seed 1"));
  const Json comparison = read_json(shell.folder / "plain/comparison.json");
  CHECK(contains(plain.out, "on test, more than this model: ") ==
        (comparison["data"]["bag_of_words"]["test"] > run["test"]["accuracy"]));
  CHECK(contains(plain.out, "\nnote: the classifier reads the mean of all tokens"));
  const auto tested = read_json(shell.folder / "plain/comparison.json")["runs"][0]["test"];
  const Answer same =
      shell.minima("eval plain/final plain/predictions.csv --json --predictions same.csv");
  CHECK(parse_json(same.out, "eval")["accuracy"] == tested["accuracy"]);
  CHECK(parse_json(same.out, "eval")["confusion"] == tested["confusion"]);
  CHECK(read_file(shell.folder / "same.csv") == table);
  const Answer again = shell.minima("eval plain/final rare.tsv --predictions all.csv");
  CHECK(again.code == 0);
  CHECK(std::ranges::count(read_file(shell.folder / "all.csv"), '\n') == 102);
  const Answer refused = shell.minima("eval plain/final rare.tsv --predictions all.csv");
  CHECK(refused.code == 2);
  CHECK(refused.err.find("all.csv: is there already") != std::string::npos);
}

TEST_CASE("a number that does not fit is refused, not bent") {
  const Shell shell;
  for (const char* wrong :
       {"--seed=-1", "--seed 99999999999999999999", "--batch 99999999999999999999"})
    check_refused(shell, std::string("train") + kTiny + " " + wrong, {"range"});
  check_refused(shell, std::string("train") + kTiny + " --layers 100000000000",
                {"--layers is 100000000000", "between 1 and 1000"});
}

TEST_CASE("what surroundings lack is said before anything is loaded") {
  const Shell shell;
  for (const auto& [setting, option] : {std::pair{"MINIMA_BLAS=/nowhere", ""},
                                        {"MINIMA_VECTOR_UNIT=nothing", ""},
                                        {"", "--device cuda:999"}}) {
    CAPTURE(setting);
    CAPTURE(option);
    const Answer answer =
        shell.minima(fmt::format("train{} --out run {}", kTiny, option), "", setting);
    CHECK((answer.code == 1 || answer.code == 2));
    CHECK(std::ranges::count(answer.err, '\n') <= 2);
    CHECK(answer.err.find("\\n") == std::string::npos);  // a list has lines
    CHECK(answer.err.starts_with("minima: "));
    CHECK_FALSE(shell.exists("run"));
  }
}

TEST_CASE("OpenBLAS is missed only where products need it") {
  const Shell shell;
  shell.write("libopenblas.so.0", "no library");
  shell.write("libopenblas.so", "no library");
  const Answer answer = shell.minima(std::string("train --out run") + kTiny, "",
                                     "LD_LIBRARY_PATH=" + shell.folder.string());
  CHECK(answer.code == (ops::products_in_blocks() ? 0 : 1));
  if (answer.code == 0)
    CHECK(read_json(shell.folder / "run/run.json")["machine"]["blas"]["library"] == "none");
  else
    CHECK(answer.err.find("install libopenblas0-pthread") != std::string::npos);
}

TEST_CASE(
    "texts that are in two splits are told of, by train and compare; a file is split without "
    "such") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "set");
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 20; ++i) rows += fmt::format("{}\ttext {} of class {}\n", i % 2, i, i % 2);
  shell.write("set/train.tsv", rows);
  shell.write("set/dev.tsv", "label\ttext\n0\tText 0 of class 0!\n1\tnew\n0\tother\n");
  shell.write("set/test.tsv", "label\ttext\n1\ttext 1 of class 1\n0\ttext 2 of class 0\n1\tnew\n");
  shell.write("twice.tsv", rows + rows.substr(rows.find('\n') + 1));
  const std::string told =
      "minima: warning: 1 of 3 dev texts and 2 of 3 test texts are training texts too, and 1 of "
      "3 test texts are dev texts, but for case and punctuation: ";
  const std::string small = std::string(kTiny) + " --json --data ";
  const Answer train = shell.minima("train --out one" + small + "set");
  CAPTURE(train.err);
  REQUIRE(train.code == 0);
  CHECK(train.err.find(told) != std::string::npos);
  CHECK(parse_json(train.out, "train")["overlaps"]["test_in_train"] == 2);
  CHECK(train.err.find("labelled differently") == std::string::npos);
  const Answer compare = shell.minima("compare --optimizers sgd --out two" + small + "set");
  CAPTURE(compare.err);
  REQUIRE(compare.code == 0);
  CHECK(compare.err.find(told) != std::string::npos);
  const Answer file = shell.minima("train --out three" + small + "twice.tsv");
  CAPTURE(file.err);
  REQUIRE(file.code == 0);
  CHECK(file.err.find("are training texts too") == std::string::npos);
  CHECK(parse_json(file.out, "train")["overlaps"]["test_in_train"] == 0);
  shell.write("both.tsv", rows + "1\tText 0 of class 0!\n");
  const Answer both = shell.minima("train --out four" + small + "both.tsv");
  CAPTURE(both.err);
  REQUIRE(both.code == 0);
  CHECK(both.err.find("note: a text is labelled differently (2 rows, but for case and "
                      "punctuation)\n") != std::string::npos);
  CHECK(parse_json(both.out, "train")["conflicts"]["rows"] == 2);
  shell.write("both.tsv", rows + "1\tText 0 of class 0!\n1\ttext 2 of class 0\n");
  const Answer exact = shell.minima("train --out five" + small + "both.tsv");
  CAPTURE(exact.err);
  CHECK(exact.err.find("note: 2 texts are labelled differently (4 rows, but for case and "
                       "punctuation); 1 to the letter (2 rows): no model is right about all of "
                       "these\n") != std::string::npos);
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

TEST_CASE("train writes a model that eval and predict read, and --json is one document") {
  const Shell shell;
  const Answer trained = shell.minima(std::string("train --json --out run") + kTiny);
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  const Json record = parse_json(trained.out, "train --json");
  CHECK(record["optimizer"] == "adamw");
  CHECK(record["model"] == "run/final");
  CHECK(record["arguments"]["warmup"] == "0.1");  // every option, those by default too

  shell.write("some.tsv", "label\ttext\nbilling\tI was charged twice\n1\tMy parcel has not come\n");
  const Answer evaluated = shell.minima("eval run/final some.tsv --json");
  CAPTURE(evaluated.err);
  REQUIRE(evaluated.code == 0);
  CHECK(evaluated.err.find("some.tsv: in 1 row the label is no name, and taken as a number of the "
                           "model's classes: 0 = billing, 1 = delivery") != std::string::npos);
  const Json scores = parse_json(evaluated.out, "eval --json");
  CHECK(scores["texts"] == 2);
  CHECK(scores["confusion"].size() == 6);
  REQUIRE(scores["classes"].size() == 6);
  const Json names = read_json(shell.folder / "run/final/config.json")["id2label"];
  for (std::size_t label = 0; label < 6; ++label) {
    const Json& one = scores["classes"][label];
    CHECK(one["name"] == names[std::to_string(label)]);
    CHECK(one["support"] == (one["name"] == "billing" || label == 1 ? 1 : 0));
    for (const char* score : {"precision", "recall", "f1"}) CHECK(one[score].is_number());
  }
  shell.write("bad.tsv", "label\ttext\nbilling\tx\nbiling\tI was charged twice\n");
  const Answer unknown = shell.minima("eval run/final bad.tsv");
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("bad.tsv:3: label 'biling'") != std::string::npos);

  // More texts than are in memory at once, 700 times these.
  std::string rows = "label\ttext\n";
  for (int time = 0; time < 700; ++time)
    for (const char* row : {"billing\tI was charged twice", "1\tMy parcel has not come", "2\ta",
                            "3\tb b", "4\tc", "5\td d d", "0\te"})
      rows += std::string(row) + '\n';
  shell.write("many.tsv", rows);
  shell.write("seven.tsv", rows.substr(0, 11 + (rows.size() - 11) / 700));
  const Json seven = parse_json(shell.minima("eval run/final seven.tsv --json").out, "seven");
  const Json many = parse_json(shell.minima("eval run/final many.tsv --json").out, "many");
  CHECK(many["texts"] == 4900);
  CHECK(shell.minima("eval run/final seven.tsv")
            .out.starts_with(fmt::format(
                "7 texts: accuracy {:.2f} %, macro-F1 {:.2f} %, MCC {:.3f}, loss {:.4f}\n\n",
                100 * seven["accuracy"].get<double>(), 100 * seven["macro_f1"].get<double>(),
                seven["mcc"].get<double>(), seven["loss"].get<double>())));
  CHECK(many["loss"].get<double>() == doctest::Approx(seven["loss"].get<double>()).epsilon(1e-5));
  for (std::size_t actual = 0; actual < 6; ++actual)
    for (std::size_t predicted = 0; predicted < 6; ++predicted)
      CHECK(many["confusion"][actual][predicted] ==
            700 * seven["confusion"][actual][predicted].get<int>());

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

TEST_CASE("training that ends early says why, and what its time went into") {
  const Shell shell;
  const std::string all_epochs = std::string(kTinyModel) + " --epochs 30";
  const Answer patient =
      shell.minima("train --patience 1 --lr 0 --metric f1 --out one" + all_epochs);
  CAPTURE(patient.err);
  REQUIRE(patient.code == 0);
  CHECK(patient.out.find("stopped in epoch 2: no better evaluation any more") != std::string::npos);
  CHECK(patient.out.find(" %, the loop ") != std::string::npos);
  CHECK(patient.err.find("  macro-F1 ") != std::string::npos);
  CHECK(contains(patient.out, " (by f1 on dev, 0."));
  const Answer brief = shell.minima("train --minutes 0.00001 --out two" + all_epochs);
  CHECK(brief.out.find("stopped in epoch 1: the time is up") != std::string::npos);
}

TEST_CASE("a folder that cannot be written is a failure at run time, with its reason") {
  const Shell shell;
  shell.write("file", "");
  const Answer answer = shell.minima(std::string("train --out file/run") + kTiny);
  CHECK(answer.code == 1);
  CHECK(answer.err.find("file/run") != std::string::npos);
}

TEST_CASE("an optimizer without a rate that trains leaves the others of a search their curves") {
  const Shell shell;
  const Answer both = shell.minima(
      std::string("train --find-lr --out run --optimizer sgd:weight_decay=1e12,adamw") +
      kTinyModel);
  CAPTURE(both.err);
  CHECK(both.code == 1);
  CHECK(both.err.find("minima: find-lr: no rate from 1e-06 to 10 lowers the loss of sgd:") !=
        std::string::npos);
  CHECK(both.err.ends_with("; the others have their curves\n"));
  const Json curves = read_json(shell.folder / "run/learning_rates.json");
  REQUIRE(curves.size() == 1);
  CHECK(curves[0]["spec"].get<std::string>().starts_with("adamw:"));
  const Answer none = shell.minima(std::string("train --find-lr --json --out none --optimizer "
                                               "sgd:weight_decay=1e12,sgd:weight_decay=1e13") +
                                   kTinyModel);
  CHECK(none.code == 1);
  CHECK(none.out == "[]\n");
  CHECK(none.err.ends_with(":weight_decay=1e13:lr=0.1:momentum=0.9\n"));
}

TEST_CASE("an optimizer is changed in mid-training, and it is said what became of its state") {
  const Shell shell;
  const Answer answer = shell.minima(std::string("train") + kTiny +
                                     " --accumulate 4 --clip-value 1 --lazy-rows --watch 2 --group "
                                     "'embeddings|bias:lr=1e-4' --switch 50%:adafactor --out run");
  CAPTURE(answer.err);
  CHECK(answer.code == 0);
  CHECK(answer.err.find(
            "after step 3: adamw → adafactor:lazy_rows=true:lr=0.03:relative_step=false") !=
        std::string::npos);
  CHECK(answer.err.find("adafactor:lazy_rows=true:lr=0.03:relative_step=false  epoch 1") !=
        std::string::npos);
  CHECK(answer.err.find("row means") != std::string::npos);
  CHECK(shell.exists("run/checkpoints/step-3/optimizer.safetensors"));
  CHECK(shell.exists("run/checkpoints/step-3/model.safetensors"));
  const std::string page = read_file(shell.folder / "run/report.html");
  CHECK(page.find("Changes of the optimizer") != std::string::npos);
  CHECK(page.find("<h1>adamw → adafactor on ") != std::string::npos);
  CHECK(page.find("adafactor, at the end of adamw → adafactor: ") != std::string::npos);
  const Answer report = shell.minima("report run");
  CHECK(report.out.find("adamw:lazy_rows=true:lr=0.001 → adafactor ") != std::string::npos);
}

TEST_CASE("steps that were skipped are counted at the end, in tables and in reports") {
  const Shell shell;
  const std::string wild =
      " --non-finite skip --warmup 0 --clip 0 --model tiny --threads 1 "
      "--max-length 16 --steps 6 --evaluate-every 1";  // the first is finite
  const Answer train = shell.minima("train --optimizer sgd:lr=1e10 --out one" + wild);
  CAPTURE(train.err);
  REQUIRE(train.code == 0);
  const std::string told =
      "of 6 steps were skipped (loss or gradient not finite), the first at step ";
  CHECK(train.out.find(told) != std::string::npos);
  CHECK(train.err.find("loss nan") != std::string::npos);
  CHECK(train.err.find("-nan") == std::string::npos);
  const Answer both = shell.minima("compare --optimizers sgd:lr=1e10,sgd --out two" + wild);
  CAPTURE(both.err);
  REQUIRE(both.code == 0);
  CHECK(both.err.find("minima: sgd:lr=1e10 with seed 1: ") != std::string::npos);
  CHECK(both.err.find(told) != std::string::npos);
  CHECK(both.out.find("skipped steps") != std::string::npos);
  CHECK(read_file(shell.folder / "two/report.html").find(told) != std::string::npos);
}

TEST_CASE("what the machine cannot hold is refused before anything is made") {
  const Shell shell;
  for (const std::string verb : {"train", "train --find-lr", "compare", "pretrain"}) {
    const Answer refused =
        shell.minima(verb + " --dim 16384 --heads 64 --hidden 65536 --layers 64 --out run");
    CAPTURE(refused.err);
    CHECK(refused.code == 1);
    CHECK(refused.err.find("minima: memory: every step of this training holds") !=
          std::string::npos);
    CHECK(refused.err.find("--checkpoint-layers") != std::string::npos);
    CHECK_FALSE(shell.exists("run"));
  }
}

TEST_CASE("of many alarms the first ten are said, and where the others are") {
  const Shell shell;
  const auto said = [&](const char* frozen) {  // the others move by many times their size
    const Answer train = shell.minima(
        fmt::format("train --optimizer adamw:lr=20 --watch 1 --warmup 0 --steps 1 --model tiny "
                    "--threads 1 --max-length 16 --freeze {0} --out run{0}",
                    frozen));
    std::size_t alarms = 0;
    for (auto at = train.err.find("  alarm: "); at != std::string::npos;
         at = train.err.find("  alarm: ", at + 1))
      ++alarms;
    return std::pair(alarms, train.err.find("further alarms are in metrics.jsonl and in the "
                                            "report\n") != std::string::npos);
  };
  CHECK(said("word_embeddings,position_embeddings") == std::pair(std::size_t{10}, true));
  CHECK(said("word_embeddings,position_embeddings,classifier") ==
        std::pair(std::size_t{10}, false));
}

TEST_CASE("it is said of an optimizer that takes no schedule, and its factor is 1") {
  const Shell shell;
  const std::string heeds_none = "makes its own step size: schedule and warm-up have no effect";
  const Answer answer = shell.minima(std::string("train --out run --optimizer ") +
                                     "adafactor:relative_step=true" + kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.err.find("adafactor " + heeds_none) != std::string::npos);
  CHECK(read_file(shell.folder / "run/metrics.jsonl").find("\"lr_factor\":1.0,") !=
        std::string::npos);
  CHECK(read_file(shell.folder / "run/metrics.jsonl").find("\"lr_factor\":0") == std::string::npos);
  const Answer other = shell.minima(std::string("train --out other --optimizer adafactor --group "
                                                "classifier:relative_step=true") +
                                    kTiny);
  CAPTURE(other.err);
  CHECK(other.code == 0);
  CHECK(other.err.find(heeds_none) == std::string::npos);
}

TEST_CASE("storage is overridden by name, also of an optimizer that comes later") {
  const Shell shell;
  for (const char* verb : {"train --optimizer adamw8bit:fp32=embeddings",
                           "compare --optimizers adamw8bit:fp32=embeddings",
                           "train --switch 50%:adamw8bit:fp32=embeddings"}) {
    const Answer answer = shell.minima(verb + std::string(kTiny) + " --out run");
    CAPTURE(verb);
    CAPTURE(answer.err);
    CHECK(answer.code == 0);
    std::filesystem::remove_all(shell.folder / "run");
  }
}

TEST_CASE("--state is that of a later optimizer too, unless it names another") {
  const Shell shell;
  const Answer answer = shell.minima(std::string("train --state block8 --switch 2:lion "
                                                 "--switch 4:adamw8bit --switch 6:came:state=bf16 "
                                                 "--switch 8:sgd:nesterov=true "
                                                 "--out run") +
                                     kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  for (const char* change : {"adamw → lion:lr=0.0002:state=block8", "lion → adamw8bit:lr=0.001",
                             "adamw8bit → came:state=bf16:lr=0.0001",
                             "came → sgd:nesterov=true:lr=0.1:momentum=0.9:state=block8"})
    CHECK(answer.err.find(change) != std::string::npos);
}

TEST_CASE("options do what they say, and where they do nothing that is told") {
  const Shell shell;
  const Answer one = shell.minima(
      std::string("train --steps 1 --pooling first --cased --tokens 200 --seed 3 --optimizer "
                  "sgd:lr=0.1 --round-tokens 64 --split-seed 2 --out one") +
      kTinyModel);
  CAPTURE(one.err);
  REQUIRE(one.code == 0);
  for (const char* told :
       {"--round-tokens is for a GPU and has no effect on the cpu\n",
        "builtin has splits of its own: --split-seed has no effect\n",
        "note: sgd:lr=0.1 has no momentum; sgd without lr, or with --lr, has 0.9\n"})
    CHECK(contains(one.err, told));
  CHECK_FALSE(contains(one.out, "note: the classifier reads the mean"));
  const Json run = read_json(shell.folder / "one/run.json");
  CHECK(run["training"]["batch"] == "200 tokens");
  CHECK(run["training"]["seed"] == 3);
  CHECK(read_json(shell.folder / "one/final/tokenizer_config.json")["do_lower_case"] == false);
  const Answer steps = shell.minima(
      std::string("train --steps 100 --warmup 0 --optimizer adafactor:state=bf16 --out two") +
      kTinyModel);
  CHECK_FALSE(contains(steps.err, "the only step"));
  CHECK(contains(steps.err,
                 "adafactor keeps no number for each weight here: state=bf16 has no effect\n"));
  CHECK(read_json(shell.folder / "two/run.json")["training"]["epochs"] == 5);
  REQUIRE(shell.minima("train --model one/final --out three --threads 1").code == 0);
  CHECK(read_json(shell.folder / "three/run.json")["training"]["epochs"] == 3);  // a trained one
}

TEST_CASE("whole numbers are decimal, with zeros in front too") {
  const Shell shell;
  const Answer answer = shell.minima(std::string("train --batch 010 --seed 08 --out run") + kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  const Json run = read_json(shell.folder / "run/run.json");
  CHECK(run["training"]["batch"] == "10 texts");
  CHECK(run["training"]["seed"] == 8);
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
  for (const auto& [option, word] : {std::pair("train --switch 99999:lion", "before the last"),
                                     std::pair("train --group nowhere:lr=1", "'nowhere'"),
                                     std::pair("compare --group nowhere:lr=1", "'nowhere'"),
                                     std::pair("train --optimizer adamw8bit:fp32=embedings",
                                               "fp32=embedings decides over no slot"),
                                     std::pair("compare --optimizers adamw8bit:fp32=embedings",
                                               "fp32=embedings decides over no slot"),
                                     std::pair("train --switch 50%:adamw8bit:fp32=embedings",
                                               "fp32=embedings decides over no slot"),
                                     std::pair("train --tokens 5 --steps 3", "a batch holds 5"),
                                     std::pair("compare --tokens 5 --steps 3", "a batch holds 5"),
                                     std::pair("pretrain --tokens 5 --steps 3", "holds 5")}) {
    const std::string steps =
        std::string(option).find("--steps") == std::string::npos ? kTiny : kTinyModel;
    const Answer answer = shell.minima(option + steps + " --out run");
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(answer.err.find(word) != std::string::npos);
    CHECK_FALSE(shell.exists("run"));
  }
}

TEST_CASE("a second training takes no folder that has a model, and loses nothing of it") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string before = read_file(shell.folder / "run/final/model.safetensors");
  for (const char* verb : {"train", "pretrain"}) {
    const Answer again = shell.minima(std::string(verb) + " --seed 2 --out run" + kTiny);
    CAPTURE(again.err);
    CHECK(again.code == 2);
    CHECK(again.err.find("run: has the model of an earlier run") != std::string::npos);
  }
  CHECK(read_file(shell.folder / "run/final/model.safetensors") == before);
}

TEST_CASE("more batches for a step than an epoch has are told of, and rows that are frozen") {
  const Shell shell;
  const Answer answer = shell.minima(
      std::string("train --accumulate 100000 --lazy-rows --freeze embeddings --out run") + kTiny);
  CAPTURE(answer.err);
  CHECK(answer.code == 0);
  CHECK(answer.err.find("--accumulate 100000 makes one step of each epoch") != std::string::npos);
  CHECK(answer.err.find("frozen: --lazy-rows has no effect") != std::string::npos);
}

TEST_CASE("a warm-up is told of where it leaves the only step without a learning rate") {
  const Shell shell;
  const std::string train = std::string("train") + kTiny + " --accumulate 100000 --out ";
  const auto told = [&](const Answer& answer) {
    REQUIRE(answer.code == 0);
    return answer.err.find("the only step has the learning rate 0") != std::string::npos;
  };
  CHECK(!told(shell.minima(train + "short")));  // a tenth of a step is none
  CHECK(told(shell.minima(train + "long --warmup 0.5")));
}

TEST_CASE("train and eval say how many texts are cut") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 40; ++i)
    rows += fmt::format("{}\ta{}\n", i % 2, i % 4 ? " b c" : " b c d e f g h i j k l m n o p q r");
  shell.write("rows.tsv", rows);
  std::filesystem::create_directory(shell.folder / "set");
  for (const char* split : {"train", "dev", "test"})
    shell.write(fmt::format("set/{}.tsv", split), rows);
  const Answer trained = shell.minima(std::string("train --data set --json --out run") + kTiny);
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.err.find("\n10 of 40 training texts are cut at 16 tokens (--max-length") !=
        std::string::npos);
  const Answer evaluated = shell.minima("eval run/final rows.tsv --json");
  CHECK(evaluated.err.find("10 of 40 texts are cut at 16 tokens") != std::string::npos);
  CHECK(parse_json(evaluated.out, "eval --json")["texts"] == 40);
}

TEST_CASE("of many classes the terminal lists those that are confused, and files have the cells") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 1500; ++i) rows += fmt::format("l{}\ttext {}\n", i % 150, i);
  shell.write("rows.tsv", rows);
  const Answer trained =
      shell.minima(std::string("train --data rows.tsv --out many --evaluate-every 20") + kTiny);
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.out.find("150 classes are too many") != std::string::npos);
  CHECK(trained.out.find("most often taken for\n") != std::string::npos);
  CHECK(std::ranges::count(trained.out, '\n') < 50);
  const Json run = read_json(shell.folder / "many/comparison.json")["runs"][0];
  CHECK(run["test"]["confusion"]["labels"] == 150);
  CHECK(run["dev"]["confusion"]["cells"].is_array());

  // The same head with more classes than there may be.
  const SafetensorsFile file(shell.folder / "many/final/model.safetensors");
  std::vector<NamedTensor> tensors;
  for (const auto& [name, entry] : file.entries()) {
    Tensor tensor = file.read(name);
    if (name == "classifier.weight") tensor = Tensor::full({10'001, entry.shape[1]}, 0);
    if (name == "classifier.bias") tensor = Tensor::full({10'001}, 0);
    tensors.push_back({name, std::move(tensor)});
  }
  std::filesystem::create_directory(shell.folder / "wide");
  save_safetensors(shell.folder / "wide/model.safetensors", tensors);
  for (const char* name : {"vocab.txt", "tokenizer_config.json"})
    std::filesystem::copy_file(shell.folder / "many/final" / name, shell.folder / "wide" / name);
  Json config = read_json(shell.folder / "many/final/config.json");
  config.erase("id2label"), config.erase("label2id");
  config["num_labels"] = 10'001;
  shell.write("wide/config.json", config.dump());
  check_refused(shell, "eval wide rows.tsv", {"wide: has 10001 classes", "10000 at most"}, "");
}

TEST_CASE("a run on files apart, of a delimiter of their own, keeps their whole paths") {
  const Shell shell;
  std::string rows = "label;text\n";
  for (int i = 0; i < 100; ++i)
    rows += fmt::format("{0};\"number; {1}\"\n", i % 2 ? "odd" : "even", i);
  shell.write("all.csv", rows);
  shell.write("held_out.txt", "text;label\n\"one; more\";odd\n");
  const Answer answer = shell.minima(
      std::string("train --data all.csv --test held_out.txt --delimiter ';' --out run") + kTiny);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.err.find("all.csv, test from held_out.txt, dev drawn by seed 1") !=
        std::string::npos);
  const Json arguments = read_json(shell.folder / "run/run.json")["arguments"];
  CHECK(arguments["test"] == (shell.folder / "held_out.txt").string());
  CHECK(arguments["delimiter"] == ";");
  const Answer predicted = shell.minima("predict run/final held_out.txt --delimiter ';'");
  CHECK(std::ranges::count(predicted.out, '\n') == 1);
}
