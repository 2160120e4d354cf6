/// Options and the files that hold them: what is refused before anything is loaded, and what run.json keeps.
#include <fmt/format.h>
#include <sys/wait.h>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE(
    "wrong options and mixes of training are refused before anything is loaded, with the way out") {
  const Shell shell;
  shell.write("unknown.json", R"({"epochz": 3})");
  shell.write("twice.json", R"({"epochs": 3, "epochs": 4})");
  shell.write("list.json", "[3]");
  shell.write("kind.json", R"({"epochs": {"a": 1}})");
  shell.write("flag.json", R"({"cased": "yes"})");
  shell.write("value.json", R"({"epochs": "many"})");
  shell.write("broken.json", "{\n  \"epochs\": tru}");
  shell.write("short.json", "{\"epochs\": 3");
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
      {"train --minutes=-1", {"minutes is -1", "0: no limit"}},
      {"train --steps 2000000000000", {"steps is 2000000000000", "between 0", "1099511627776"}},
      {"train --batch 8 --tokens 100", {"--batch", "--tokens", "exclude"}},
      {"train --batch=-1", {"--batch is -1", "at least 1"}},
      {"train --accumulate 0", {"accumulate is 0", "between 1"}},
      {"train --warmup 1", {"warmup is 1", "below 1"}},
      {"train --warmup 3", {"warmup is 3", "of 600 steps 30 are 0.05"}},
      {"train --schedule one_cycle --warmup 0.5", {"one_cycle", "--warmup 0.5", "pct_start"}},
      {"pretrain --schedule one_cycle --warmup 0 --lr=-1", {"lr is -1"}},  // it takes none
      {"train --warmup=-0.1", {"warmup is -0.1", "at least 0"}},
      {"train --clip=-1", {"clip is -1", "0: not clipped"}},
      {"train --clip-value=-1", {"clip-value is -1", "0: not cut"}},
      {"train --clip inf", {"clip is inf", "must be finite", "0: not clipped"}},
      {"train --clip-value inf", {"clip-value is inf", "must be finite", "0: not cut"}},
      {"train --watch=-1", {"watch is -1", "0: never"}},
      {"train --batch 0", {"--batch is 0", "at least 1"}},
      {"train --tokens=-1", {"--tokens is -1", "at least 1"}},
      {"train --clip 1e-50", {"clip is 1e-50", "in 32 bits"}},
      {"train --clip-value 1e-50", {"clip-value is 1e-50", "in 32 bits"}},
      {"train --lazy-rows --optimizer adamw:lazy_rows=false",
       {"--lazy-rows", "adamw:lazy_rows=false", "twice"}},
      {"train --patience=-1", {"patience is -1", "0: never"}},
      {"train --evaluate-every=-5", {"evaluate-every is -5", "0: after each epoch"}},
      {"train --save-every=-1", {"save-every is -1", "0: only when interrupted"}},
      {"train --keep=-1", {"keep is -1", "0: all"}},
      {"train --metric accuracyy", {"--metric", "accuracyy", "accuracy"}},
      {"train --non-finite ignore", {"--non-finite", "ignore", "lower-scale"}},
      {"train --precision int8", {"--precision", "int8", "bf16"}},
      {"train --precision tf32 --device cpu", {"tf32", "GPU", "fp32"}},
      {"train --schedule liner", {"liner", "'linear'"}},
      {"train --schedule one_cycle:pct_strat=0.3", {"pct_strat", "pct_start"}},
      {"train --schedule linear:minimum=0.1", {"minimum", "has none"}},
      {"train --schedule one_cycle:pct_start=2", {"pct_start", "below 1"}},
      {"train --optimizer adamv", {"adamv", "adamw"}},
      {"train --optimizer adamw:lrr=1", {"lrr", "lr"}},
      {"train --optimizer adafactor:lr=1e-3:relative_step=true", {"relative_step"}},
      {"train --optimizer adamw,lion", {"minima compare --optimizers"}},
      {"train --optimizer adamw --state int4", {"int4", "block8"}},
      {"train --optimizer adamw:lr=1e-3 --lr 1e-2",
       {"--lr 0.01", "--optimizer adamw:lr=1e-3", "twice", "leave one out"}},
      {"pretrain --optimizer adamw:lr=1e-3 --lr 1e-2", {"--lr 0.01", "--optimizer adamw:lr=1e-3"}},
      {"train --optimizer adamw:state=bf16 --state fp32", {"--state fp32", "state=bf16", "twice"}},
      {"train --optimizer ADAMW", {"'ADAMW'", "'adamw'"}},
      {"train --lr 1e-400", {"--lr", "1e-400 is out of range"}},
      {"train --clip 1e400", {"--clip", "1e400 is out of range"}},
      {"train --epochs two", {"--epochs: 'two' is no whole number"}},
      {"train --dim 1e2", {"--dim: '1e2' is no whole number"}},
      {"train --seed ' -1'", {"--seed: ' -1' is no whole number"}},
      {"train --lr 1e-3x", {"--lr: '1e-3x' is no number"}},
      {"train --lr=-1", {"lr", "-1"}},
      {"train --lr nan", {"lr", "nan"}},
      {"train --switch 50%", {"an optimizer must follow", "50%:adamw8bit"}},
      {"train --switch 150%:adamw", {"150%", "below 100"}},
      {"train --switch 50%:adamv", {"adamv", "adamw"}},
      {"train --switch 0:adamw", {"at least 1"}},
      {"train --group bias", {"group 'bias'", "options"}},
      {"train --group bias:lrr=1", {"group 'bias'", "lrr", "lr"}},
      {"train --group bias:eps=1 --group classifier:lr=-1", {"group 'classifier'", "lr is -1"}},
      {"train --dropout 1", {"dropout is 1", "below 1"}},
      {"train --heads 3", {"3 heads", "128"}},
      {"train --layers 0", {"--layers is 0", "between 1"}},
      {"train --max-length 2", {"max-length is 2", "between 3"}},
      {"train --threads=-2", {"threads is -2", "all cores"}},
      {"train --model smal", {"smal", "small"}},
      {"train --pooling last", {"--pooling", "last", "mean"}},
      {"train --seed=-1", {"--seed", "range"}},
      {"train --seed 18446744073709551616", {"--seed", "range"}},
      {"train --seed 18446744073709551615 --layers 0", {"--layers is 0"}},
      {"train --epochz 3", {"--epochz", "--epochs"}},
      {"train --resume a --config b", {"--resume", "--config", "exclude"}},
      {"train --config missing.json", {"missing.json", "cannot be opened"}},
      {"train --config unknown.json", {"unknown.json", "'epochz'", "'epochs'"}},
      {"train --config twice.json", {"twice.json", "epochs"}},
      {"train --config list.json", {"list.json", "no JSON object"}},
      {"train --config kind.json", {"kind.json", "'epochs'", "a number, a word"}},
      {"train --config flag.json", {"flag.json", "'cased'", "true or false"}},
      {"train --config value.json", {"value.json: 'epochs': 'many' is no whole number"}},
      {"train --config broken.json",
       {"broken.json: not valid JSON: line 2, column 16, after '  \"epochs\": tru}'"}},
      {"train --config short.json", {"short.json: not valid JSON: it ends too early"}},
      {"train --find-lr --lr 1", {"--find-lr", "--lr", "exclude"}},
      {"train --find-lr --switch 5:adamw", {"--find-lr", "--switch", "exclude"}},
      {"train --find-lr --accumulate 2", {"--find-lr", "--accumulate", "exclude"}},
      {"train --find-lr --steps 10", {"--find-lr", "--steps", "exclude", "leave it out"}},
      {"train --find-lr --epochs 1", {"--find-lr", "--epochs", "exclude"}},
      {"train --find-lr --minutes 1", {"--find-lr", "--minutes", "exclude"}},
      {"train --find-lr --patience 2", {"--find-lr", "--patience", "exclude"}},
      {"train --find-lr --metric f1", {"--find-lr", "--metric", "exclude"}},
      {"train --find-lr --evaluate-every 5", {"--find-lr", "--evaluate-every", "exclude"}},
      {"train --find-lr --save-every 5", {"--find-lr", "--save-every", "exclude"}},
      {"train --find-lr --keep 1", {"--find-lr", "--keep", "exclude"}},
      {"train --find-lr --non-finite skip", {"--find-lr", "--non-finite", "exclude"}},
      {"train --find-lr --watch 1", {"--find-lr", "--watch", "exclude"}},
      {"train --find-lr --schedule linear", {"--find-lr", "--schedule", "schedule of its own"}},
      {"train --find-lr --group bias:lr=1", {"--find-lr", "--group bias:lr=1", "exclude"}},
      {"train --find-lr --optimizer sgd,adamw:lr=1", {"--find-lr", "adamw:lr=1", "exclude"}},
      {"compare --tune 3 --group bias:eps=1:lr=1", {"--tune", "--group bias:lr=1", "exclude"}},
      {"train --find-lr --warmup 0", {"--find-lr", "--warmup", "schedule of its own"}},
      {"train --steps 10 --switch 10:lion", {"lion", "step 10, of 10", "before the last"}},
      {"compare --tune 3 --optimizers adafactor:lr=none,adafactor:lr=x", {"lr", "x"}},
      {"train --label-smoothing 1", {"label-smoothing is 1", "below 1"}},
      {"compare --tune 0", {"0 learning rates", "between 1"}},
      {"compare --seeds 0", {"0 seeds", "between 1"}},
      {"compare --optimizers adamw,adamw", {"adamw", "same options"}},
      {"compare --optimizers adamw:lr=1e-3,sgd,adamw",
       {"'adamw:lr=1e-3' and 'adamw:lr=0.001'", "same options", "leave one out"}},
      {"compare --tune 3 --optimizers adamw,adamw:lr=0.1,sgd",
       {"'adamw:lr=0.1'", "but the learning rate", "leave one out"}},
      {"compare --tune 3 --optimizers adamw:lr=0", {"'adamw:lr=0' is 0", "--tune"}},
      {"compare --optimizers adamw,,lion", {"--optimizers 'adamw,,lion'", "empty"}},
      {"train --freeze embeddings,", {"--freeze 'embeddings,'", "empty"}},
      {"train --find-lr --optimizer adamw,", {"--optimizer 'adamw,'", "empty"}},
      {"compare --optimizers adamw,adafactorr", {"adafactorr", "adafactor"}},
      {"compare --optimizers adafactor:lr=1e-3:relative_step=true", {"relative_step"}},
      {"compare --optimizers 'adamw, nope'", {"no optimizer named 'nope'"}},
      {"compare --lr 1", {"not expected: --lr 1. (minima compare --help"}},
  };
  CHECK(table.size() >= 40);
  for (const Refusal& refusal : table) {
    const std::string arguments = std::string(refusal.arguments) + " --data nowhere.tsv";
    check_refused(shell, arguments, refusal.words);
    CHECK(read_file(shell.folder / "err").find("nowhere.tsv") == std::string::npos);
  }
  const std::string of_two = std::string("train --class-weights 1,2") + kTiny;
  CHECK(shell.minima(of_two + " --out run").err.find("2 numbers, the texts 6 classes") !=
        std::string::npos);
  check_refused(shell, "trian", {"there is no verb 'trian'", "did you mean 'train'?"}, "");
  check_refused(shell, "nosuch", {"there is no verb 'nosuch'"}, "");
  for (const char* arguments : {"", "--data d.csv"})
    check_refused(shell, arguments, {"a verb comes first", "(minima --help lists"}, "");
  check_refused(shell, "train --valid dev.tsv",
                {"not expected: --valid dev.tsv. (minima train --help"}, "");
  check_refused(shell, "train --dim 8 --dim 16", {"--dim is given 2 times; give it once"}, "");
  for (const char* verb : {"train --data", "data"})
    check_refused(shell, fmt::format("{} d/x.csv", verb),
                  {"there is no 'd/x.csv' in /", "give builtin"}, "");
  check_refused(shell, "train --epochs 3 --valid 3", {"not expected: --valid 3. ("}, "");
  check_refused(shell, "train --data a --epoch=3",
                {"not expected: --epoch=3; did you mean '--epochs'?"}, "");
  check_refused(shell, "train --epoch 3", {"not expected: --epoch 3; did you mean '--epochs'?"},
                "");
  shell.write("texts.csv", "label,text\n");
  check_refused(shell, "train texts.csv",
                {"not expected: texts.csv. Data are named by an option: --data texts.csv"}, "");
  check_refused(shell, "memory extra", {"not expected: extra. (minima memory --help"}, "");
  check_refused(shell, "train --vocabulary 10", {"10"});
  check_refused(shell, "train --resume a --out b", {"--resume", "--out", "exclude"}, "");
  check_refused(shell, "train --resume nowhere", {"nowhere/run.json", "cannot be opened"}, "");
}

TEST_CASE(
    "links that lead in circles and folders whose name is not UTF-8 are refused as bad input") {
  const Shell shell;
  std::filesystem::create_symlink("loop", shell.folder / "loop");
  for (const std::string arguments :
       {"tokenize --vocab loop", "inspect loop", "predict loop", "convert loop copy",
        "memory --model loop", "train --model loop", "train --config loop", "train --data loop"})
    check_refused(shell, arguments, {"loop"}, "");
  const auto odd = shell.folder / "d\xff";
  std::filesystem::create_directory(odd);
  std::filesystem::copy_file(shell.folder / "input", odd / "t.tsv");
  const std::string command = fmt::format("cd '{}' && '{}' train --data t.tsv --out run 2> err",
                                          odd.string(), shell.program);
  CHECK(WEXITSTATUS(std::system(command.c_str())) == 2);
  CHECK(read_file(odd / "err").find("a path that is not valid UTF-8") != std::string::npos);
}

TEST_CASE("an empty text is no value of any option") {
  const Shell shell;
  for (const char* option : {"--warmup", "--clip", "--clip-value", "--epochs", "--steps", "--batch",
                             "--tokens", "--minutes", "--seed", "--freeze", "--lr", "--state",
                             "--optimizer", "--schedule", "--model", "--dim", "--group", "--out"})
    check_refused(shell, std::string("train --data nowhere.tsv ") + option + " ''",
                  {std::string(option) + ": is empty; leave it out or give a value"}, "");
  for (const char* arguments :
       {"memory --scale ''", "memory --state-table ''", "memory --fits ''", "memory --dim ''",
        "explain ''", "explain --weight ''", "explain --lr-factor ''", "inspect ''", "eval '' ''",
        "compare --optimizers ''", "compare --seeds ''", "report ''", "data ''", "predict ''",
        "tokenize --vocab ''", "convert '' ''"})
    check_refused(shell, arguments, {": is empty; leave it out or give a value"}, "");
  shell.write("empty.json", R"({"clip": ""})");
  check_refused(shell, "train --data nowhere.tsv --config empty.json",
                {"empty.json: 'clip' is empty; leave it out"}, "");
  shell.write("empty.json", R"({"out": ""})");  // which is the default
  check_refused(shell, "train --data nowhere.tsv --config empty.json",
                {"empty.json: 'out' is empty; leave it out"}, "");
}

TEST_CASE(
    "a number of a configuration file is read as the command line reads it, as it is written") {
  const Shell shell;
  const auto refused = [&](const std::string& options, const std::vector<std::string>& words) {
    shell.write("options.json", options);
    check_refused(shell, "train --data nowhere.tsv --config options.json", words);
  };
  refused(R"({"lr": 1e-400})", {"options.json: 'lr': 1e-400 is out of range"});
  refused(R"({"lr":-1e-400})", {"options.json: 'lr': -1e-400 is out of range"});
  refused(R"({"lr": 1e400})", {"options.json", "1e400"});
  refused(R"({"epochs": 1e1})", {"options.json: 'epochs': '1e1' is no whole number"});
  refused(R"({"epochs": 99999999999999999999})", {"'epochs': 99999999999999999999 is out of"});
  refused(R"({"json": 1})", {"'json'", "true or false"});
  refused(R"({"epochs": 01})", {"options.json: not valid JSON"});
  refused("12", {"options.json: is no JSON object"});
  // What only looks like a number stays, and so does the rest.
  refused(R"({"lr": 1e-3, "group": ["a\"-1e-400:lr=1", "b:lr=1e-400"], "steps": 0})",
          {"--steps is 0"});
}

TEST_CASE(
    "a folder that cannot be written to or has an earlier run is refused before anything is "
    "loaded") {
  const Shell shell;
  shell.write("file", "");
  std::filesystem::create_directories(shell.folder / "old/final");
  for (const std::string verb : {"train", "train --find-lr", "pretrain", "compare"}) {
    CAPTURE(verb);
    const Answer answer = shell.minima(verb + " --data nowhere.tsv --out file/run");
    CHECK(answer.code == 1);
    CHECK(answer.err.find("file/run: cannot be created") != std::string::npos);
    CHECK(std::ranges::count(answer.err, '\n') == 1);
    if (verb.find("find-lr") == std::string::npos)
      check_refused(shell, verb + " --data nowhere.tsv", {"old: has the model of an earlier run"},
                    " --out old");
  }
  CHECK(std::filesystem::is_empty(shell.folder / "old/final"));
}

TEST_CASE("what this program has not written it does not replace") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "model");
  shell.write("model/config.json", "{}");
  CHECK(
      shell.minima(std::string("train --out model") + kTiny).err.find("is the folder of a model") !=
      std::string::npos);
  const auto stays = [&](const std::string& arguments, const std::string& file) {
    CAPTURE(arguments);
    const Answer answer = shell.minima(arguments);
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(std::ranges::count(answer.err, '\n') == 1);
    CHECK(answer.err.find(file + ": was not written by this program") != std::string::npos);
    CHECK(read_file(shell.folder / file) == "mine");
  };
  REQUIRE(shell.minima(std::string("train --out one") + kTiny).code == 0);
  for (const std::string name : {"run.json", "report.html", "comparison.json"}) {
    const std::string own = "own-" + name, file = own + "/" + name;
    std::filesystem::create_directory(shell.folder / own);
    shell.write(file, "mine");
    if (name != "run.json") stays("report one --out " + own, file);
    for (const std::string verb : {"train", "pretrain", "compare"})
      if (name != "comparison.json") stays(verb + " --data nowhere.tsv --out " + own, file);
  }
  std::filesystem::create_directory(shell.folder / "one/report");
  shell.write("one/report.html", "mine");
  stays("report one", "one/report.html");
  std::filesystem::remove(shell.folder / "one/report.html");
  // Its own are replaced: a report of the same runs, a run that has not taken a step.
  for (int i = 0; i < 2; ++i) CHECK(shell.minima("report one --out page").code == 0);
  std::filesystem::create_directory(shell.folder / "begun");
  std::filesystem::copy_file(shell.folder / "one/run.json", shell.folder / "begun/run.json");
  CHECK(shell.minima(std::string("train --out begun") + kTiny).code == 0);

  const std::string search = std::string("train --find-lr --out curves") + kTinyModel;
  CHECK(shell.minima(search).out.ends_with("\ncurves: curves/learning_rates.html\n"));
  CHECK(shell.exists("curves/learning_rates.html"));
  const Json all = json_of(
      shell,
      std::string("train --find-lr --json --out others --state bf16 --optimizer adamw,lion") +
          kTinyModel);
  CHECK(all == read_json(shell.folder / "others/learning_rates.json"));
  REQUIRE(all.size() == 2);
  CHECK(all[1]["spec"].get<std::string>().find("lion:state=bf16") == 0);
  const std::string curves = read_file(shell.folder / "curves/learning_rates.json");
  check_refused(shell, search + " --optimizer sgd", {"curves: has the curves of an earlier search"},
                "");
  CHECK(read_file(shell.folder / "curves/learning_rates.json") == curves);
}

TEST_CASE(
    "a folder with the name of a preset is not taken for it, and it is said how it would be") {
  const Shell shell;
  std::filesystem::create_directory(shell.folder / "tiny");
  const Answer preset = shell.minima(std::string("train --out preset") + kTiny);
  CAPTURE(preset.err);
  CHECK(preset.code == 0);
  CHECK(preset.err.find("the folder of that name is --model ./tiny") != std::string::npos);
  CHECK(read_json(shell.folder / "preset/run.json")["arguments"]["model"] == "tiny");
  check_refused(shell, "train --model ./tiny", {"./tiny", "no config.json"});
}

TEST_CASE(
    "a configuration file stands for options, the command line stands over it, and run.json keeps "
    "both") {
  const Shell shell;
  shell.write("options.json",
              R"({"model": "tiny", "dim": 16, "hidden": 16, "max-length": 16, "threads": 1,
                                  "epochs": 3, "optimizer": "lion", "group": ["bias:lr=0", "embeddings|norm:lr=1e-5"]})");
  const Answer answer = shell.minima("train --config options.json --epochs 1 --batch 64 --out run");
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  CHECK(answer.err.find("--optimizer=lion") != std::string::npos);
  CHECK(answer.err.find("--group=bias:lr=0 '--group=embeddings|norm:lr=1e-5'") !=
        std::string::npos);
  CHECK(answer.err.find("; all go to run/run.json") != std::string::npos);
  const Answer none = shell.minima("train --config options.json --freeze nothing --out none");
  CHECK(none.err.starts_with("minima: freeze: no parameter's name has the part 'nothing'"));
  CHECK(answer.err.find("--warmup") == std::string::npos);  // as it is by default
  const Json run = read_json(shell.folder / "run/run.json");
  CHECK(run["training"]["epochs"] == 1);
  CHECK(run["training"]["batch"] == "64 texts");
  CHECK(run["training"]["groups"].size() == 2);
  CHECK(run["optimizer"]["optimizer"] == "lion");
  // What was resolved is a configuration again.
  shell.write("again.json", run["arguments"].dump());
  REQUIRE(shell.minima("train --config again.json --out again").code == 0);
  CHECK(read_json(shell.folder / "again/run.json")["arguments"] == run["arguments"]);
  CHECK(read_file(shell.folder / "err").find("--warmup") == std::string::npos);
  CHECK(read_file(shell.folder / "again/final/model.safetensors") ==
        read_file(shell.folder / "run/final/model.safetensors"));
}
