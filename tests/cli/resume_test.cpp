/// minima train --resume, and Ctrl-C.
#include <fmt/format.h>
#include <sys/wait.h>

#include <map>

#include "core/cpu/simd.hpp"
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/files/json.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

namespace {

struct Interrupted {
  int code;         ///< of the program
  std::string err;  ///< what it said
};

/// Runs `minima train ARGUMENTS --out run` under a shell, which then does `interrupt` to the process $child.
Interrupted train_interrupted(const Shell& shell, const std::string& arguments,
                              const std::string& interrupt) {
  shell.write(
      "interrupt.sh",
      fmt::format("cd '{}'\n'{}' train{} --out run > out 2> err &\nchild=$!\n{}\nwait $child\n",
                  shell.folder.string(), shell.program, arguments, interrupt));
  // With job control (-m), else the shell would have its child ignore the interrupt.
  const int status =
      std::system(fmt::format("bash -m '{}/interrupt.sh'", shell.folder.string()).c_str());
  return {WEXITSTATUS(status), read_file(shell.folder / "err")};
}

}  // namespace

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
  const Answer resumed =
      shell.minima("train --resume run --threads 2 --save-every 0 --watch 3 --checkpoint-layers");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.err.find("going on from run/checkpoints/step-40") != std::string::npos);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
  CHECK(read_file(shell.folder / "run/final/optimizer.safetensors") ==
        read_file(shell.folder / "whole/final/optimizer.safetensors"));
}

TEST_CASE("a run goes on with its weights updated in backward, to the same bits") {
  const Shell shell;
  check_refused(shell, "train --update-in-backward", {"update-in-backward: ", "clip 0"});
  const std::string run = std::string(kTiny) + " --batch 16 --clip 0 --optimizer adafactor";
  REQUIRE(shell.minima("train" + run + " --out whole").code == 0);
  REQUIRE(shell.minima("train" + run + " --save-every 10 --out run").code == 0);
  std::filesystem::remove_all(shell.folder / "run/final");
  const Answer resumed = shell.minima("train --resume run --update-in-backward");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  for (const char* file : {"final/model.safetensors", "final/optimizer.safetensors"})
    CHECK(read_file(shell.folder / "run" / file) == read_file(shell.folder / "whole" / file));
}

TEST_CASE("a run has the same bits on processors with AVX2 and with AVX-512") {
  if (widest_vector_unit() != VectorUnit::avx512) {
    MESSAGE("skipped: this processor has no AVX-512");
    return;
  }
  const Shell shell;
  const std::string run =
      " --data builtin --model small --dim 64 --layers 2 --epochs 1 "
      "--optimizer adamw8bit --threads 2 --out ";
  for (const std::string unit : {"avx2", "avx512"}) {
    const Answer answer = shell.minima("train" + run + unit, "", "MINIMA_VECTOR_UNIT=" + unit);
    CAPTURE(answer.err);
    REQUIRE(answer.code == 0);
  }
  for (const char* file : {"/final/model.safetensors", "/final/optimizer.safetensors"})
    CHECK(read_file(shell.folder / (std::string("avx2") + file)) ==
          read_file(shell.folder / (std::string("avx512") + file)));
}

TEST_CASE("a run.json is a configuration too: that of another run with the same options") {
  const Shell shell;
  const std::string seed = " --seed 18446744073709551615";
  REQUIRE(shell.minima(std::string("train") + kTiny + " --batch 16 --out one" + seed).code == 0);
  check_refused(shell, "train --resume one --seed 18446744073709551614",
                {"--seed", "18446744073709551615", "18446744073709551614"}, "");
  const Answer again = shell.minima("train --config one/run.json --out again");
  CAPTURE(again.err);
  REQUIRE(again.code == 0);
  CHECK(read_file(shell.folder / "again/final/model.safetensors") ==
        read_file(shell.folder / "one/final/model.safetensors"));
  CHECK(shell.minima("train --config one/final/config.json --out other").code == 2);
}

TEST_CASE("a run that has ended is not trained again: that is said, and every file stays") {
  const Shell shell;
  const auto files = [&] {
    std::map<std::string, std::string> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(shell.folder / "run"))
      if (entry.is_regular_file()) all[entry.path().string()] = read_file(entry.path());
    return all;
  };
  for (const std::string verb : {"train", "pretrain"}) {
    CAPTURE(verb);
    std::filesystem::remove_all(shell.folder / "run");
    REQUIRE(shell.minima(verb + kTiny + " --out run").code == 0);  // too short for a checkpoint
    const auto before = files();
    const Answer again = shell.minima(verb + " --resume run");
    CHECK(again.code == 0);
    CHECK(again.out.find("run has ended: all steps are taken") != std::string::npos);
    CHECK(parse_json(shell.minima(verb + " --resume run --json").out, "")["stop"] ==
          "all steps are taken");
    const bool same = files() == before;
    CHECK(same);
  }
  // Killed before its page, which is the last that is written.
  std::filesystem::remove(shell.folder / "run/report.html");
  CHECK(shell.minima("pretrain --resume run").code == 0);
  CHECK(std::filesystem::exists(shell.folder / "run/report.html"));
}

TEST_CASE("a resumed run keeps the optimizer that it was begun with") {
  const Shell shell;
  const std::string train = std::string("train") + kTiny + " --optimizer sgd:lr=0.05 --out ";
  REQUIRE(shell.minima(train + "whole").code == 0);
  REQUIRE(shell.minima(train + "run --minutes 0.000001").code == 0);
  Json run = read_json(shell.folder / "run/run.json");
  // As versions wrote it for which --lr left SGD without momentum.
  run["arguments"]["optimizer"] = "sgd";
  run["arguments"]["lr"] = "0.05";
  write_file(shell.folder / "run/run.json", run.dump());
  const Answer resumed = shell.minima("train --resume run --minutes 0");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
}

TEST_CASE("a run that was stopped between its model and its report is finished") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train") + kTiny + " --out run").code == 0);
  const auto scores = [&] {
    const Json run = read_json(shell.folder / "run/comparison.json")["runs"][0];
    return Json{run["test"], run["dev"], run["worst"]};
  };
  const Json before = scores();
  const std::string weights = read_file(shell.folder / "run/final/model.safetensors");
  Json run = read_json(shell.folder / "run/run.json");
  run.erase("stop"), run.erase("time");
  write_file(shell.folder / "run/run.json", run.dump());
  for (const char* file : {"run/comparison.json", "run/report.html"})
    std::filesystem::remove(shell.folder / file);
  CHECK(shell.minima("train --resume run").code == 0);
  CHECK(scores() == before);
  CHECK(std::filesystem::exists(shell.folder / "run/report.html"));
  CHECK(read_file(shell.folder / "run/final/model.safetensors") == weights);
  CHECK(shell.minima("train --resume run").out.find("has ended") != std::string::npos);
}

TEST_CASE("the minutes of a resumed run may be others, or none, and are kept") {
  const Shell shell;
  const std::string train = std::string("train") + kTiny;
  REQUIRE(shell.minima(train + " --out whole").code == 0);
  const Answer brief = shell.minima(train + " --minutes 0.000001 --out run");
  CHECK(brief.out.find("stopped in epoch 1: the time is up; go on without a limit: minima train "
                       "--resume run --minutes 0\n") != std::string::npos);
  CHECK(shell.minima(train + " --minutes 0.000001 --out \"it's mine\"")
            .out.find("minima train --resume 'it'\\''s mine' --minutes 0\n") != std::string::npos);
  const auto kept = [&](const char* key) { return read_json(shell.folder / "run/run.json")[key]; };
  CHECK(kept("stop") == "the time is up");
  CHECK(shell.minima("train --resume run --minutes 0.000002").code == 0);
  CHECK(kept("arguments")["minutes"] == "0.000002");
  CHECK(kept("training")["minutes"] == 0.000002);
  CHECK(kept("time").contains("steps"));
  // It trains, until a file stands where the model's folder is to be.
  std::filesystem::remove_all(shell.folder / "run/final");
  write_file(shell.folder / "run/final", "");
  CHECK(shell.minima("train --resume run --minutes 0").code == 1);
  CHECK(!read_json(shell.folder / "run/run.json").contains("time"));
  std::filesystem::remove(shell.folder / "run/final");
  CHECK(shell.minima("train --resume run --minutes 0").code == 0);
  CHECK(kept("stop") == "all steps are taken");
  CHECK(kept("arguments")["minutes"] == "0");
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
}

TEST_CASE("a report stays where its run cannot be resumed") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train") + kTiny + " --save-every 10 --out run").code == 0);
  std::filesystem::remove_all(shell.folder / "run/final");
  for (const auto& entry : std::filesystem::directory_iterator(shell.folder / "run/checkpoints"))
    shell.write("run/checkpoints/" + entry.path().filename().string() + "/state.json", "{");
  const std::string log = read_file(shell.folder / "run/metrics.jsonl");
  for (int i = 0; i < 2; ++i) {  // also where they are set aside already
    const Answer refused = shell.minima("train --resume run");
    CHECK(refused.code == 2);
    CHECK(refused.err.find("no whole checkpoint") != std::string::npos);
    CHECK(refused.err.find("remove run/checkpoints") != std::string::npos);
  }
  CHECK(shell.exists("run/comparison.json"));
  CHECK(shell.exists("run/report.html"));
  CHECK(read_file(shell.folder / "run/metrics.jsonl") == log);
}

TEST_CASE("a page that is damaged is made anew where its run goes on, and kept aside") {
  const Shell shell;
  for (const std::string verb : {"train", "compare", "pretrain"}) {
    CAPTURE(verb);
    const bool has_records = verb != "pretrain";
    REQUIRE(shell.minima(verb + kTiny + " --minutes 0.000001 --out " + verb).code == 0);
    for (const char* file : {"/report.html", "/comparison.json"}) shell.write(verb + file, "mine");
    shell.write(verb + "/report.html.damaged", "of before");
    const Answer resumed = shell.minima(verb + " --minutes 0 --resume " + verb);
    CAPTURE(resumed.err);
    CHECK(resumed.code == 0);
    CHECK(resumed.err.find("report.html is damaged, or was not written by this program; it is "
                           "kept as report.html.damaged-2") != std::string::npos);
    CHECK(read_file(shell.folder / verb / "report.html").find("<title>minima: ") !=
          std::string::npos);
    CHECK(shell.exists(verb + "/comparison.json") == has_records);
    for (const char* file : {"/report.html.damaged-2", "/comparison.json.damaged"})
      CHECK(read_file(shell.folder / (verb + file)) == "mine");
    CHECK(read_file(shell.folder / (verb + "/report.html.damaged")) == "of before");
  }
}

TEST_CASE("a folder in which a process is at work is refused to all others, and stays as it is") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train") + kTiny + " --save-every 10 --out run").code == 0);
  std::filesystem::create_directory(shell.folder / "empty");
  const std::string before = read_file(shell.folder / "run/run.json");
  {
    const FolderLock run(shell.folder / "run"), empty(shell.folder / "empty");
    for (const std::string again :
         {"train --resume run", "train --out empty", "train --find-lr --out empty",
          "pretrain --out empty", "compare --out empty"}) {
      CAPTURE(again);
      const bool resumes = again.find("--resume") != std::string::npos;
      const Answer answer = shell.minima(again + (resumes ? "" : " --data nowhere.tsv"));
      CHECK(answer.code == 2);
      CHECK(answer.err.find(resumes ? "run: " : "empty: ") != std::string::npos);
      CHECK(answer.err.find("is at work in it") != std::string::npos);
      CHECK(std::ranges::count(answer.err, '\n') == 1);
    }
    CHECK(read_file(shell.folder / "run/run.json") == before);
    CHECK(std::filesystem::is_empty(shell.folder / "empty"));
  }
  CHECK(shell.minima("train --resume run").code == 0);
}

TEST_CASE("a run is resumed from any folder, by its own verb, also where run.json is damaged") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 40; ++i) rows += fmt::format("{}\ttext {} of {}\n", i % 2, i, i % 2);
  shell.write("texts.tsv", rows);
  REQUIRE(shell
              .minima(std::string("train") + kTiny +
                      " --batch 4 --data texts.tsv --save-every 5 --out run")
              .code == 0);
  const std::string model = read_file(shell.folder / "run/final/model.safetensors");
  const std::string data = (shell.folder / "texts.tsv").string();
  CHECK(read_json(shell.folder / "run/run.json")["arguments"]["data"] == data);
  std::filesystem::create_directory(shell.folder / "elsewhere");
  for (const bool damaged : {false, true}) {
    CAPTURE(damaged);
    if (damaged) shell.write("run/run.json", "{\"argu");
    std::filesystem::remove_all(shell.folder / "run/final");
    std::filesystem::remove(shell.folder / "run/metrics.jsonl");
    const int status = std::system(fmt::format("cd '{}/elsewhere' && '{}' train --resume ../run "
                                               "--data ../texts.tsv > ../out 2> ../err",
                                               shell.folder.string(), shell.program)
                                       .c_str());
    const std::string err = read_file(shell.folder / "err");
    CAPTURE(err);
    CHECK(WEXITSTATUS(status) == 0);
    CHECK((err.find("has kept what it said") != std::string::npos) == damaged);
    CHECK(err.find("metrics.jsonl: ") != std::string::npos);  // some of which is lost
    CHECK(read_file(shell.folder / "run/final/model.safetensors") == model);
    CHECK(read_json(shell.folder / "run/run.json")["arguments"]["data"] == data);
  }
  for (const std::string verb : {"compare", "pretrain"}) {
    const Answer other = shell.minima(verb + " --resume run");
    CHECK(other.code == 2);
    CHECK(other.err.find("is a folder of minima train, not of minima " + verb) !=
          std::string::npos);
    CHECK(other.err.find("go on with: minima train --resume run") != std::string::npos);
  }
  std::filesystem::rename(shell.folder / "texts.tsv", shell.folder / "moved.tsv");
  const Answer moved = shell.minima("train --resume run");
  CHECK(moved.code == 2);
  CHECK(moved.err.find("texts.tsv, which is not there") != std::string::npos);
  CHECK(moved.err.find("name where it is now (--data)") != std::string::npos);
  std::filesystem::remove_all(shell.folder / "run/final");
  shell.write("other.tsv", rows + "0\tone more\n");
  const Answer other = shell.minima("train --resume run --data other.tsv");
  CHECK(other.code == 2);
  CHECK(other.err.find("changed since the beginning: texts") != std::string::npos);
  CHECK(shell.minima("train --resume run --data moved.tsv").code == 0);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") == model);
}

TEST_CASE("a run is not gone on with where its model has other sizes, or a comparison other data") {
  const Shell shell;
  std::string rows = "label\ttext\n";
  for (int i = 0; i < 60; ++i) rows += fmt::format("{}\ttext {} of {}\n", i % 2, i, i % 2);
  shell.write("texts.tsv", rows);
  const std::string options = std::string(kTiny) + " --data texts.tsv";
  REQUIRE(shell.minima("train" + options + " --heads 2 --save-every 1 --out run").code == 0);
  std::filesystem::remove_all(shell.folder / "run/final");
  Json run = read_json(shell.folder / "run/run.json");
  run["arguments"]["heads"] = "1";
  run.erase("stop");
  shell.write("run/run.json", run.dump());
  const Answer headless = shell.minima("train --resume run");
  CHECK(headless.code == 2);
  CHECK(headless.err.find("the model's n_heads is 1 here, 2 in the run") != std::string::npos);

  REQUIRE(shell.minima("compare --optimizers adamw,sgd --out both" + options).code == 0);
  CHECK(shell.minima("compare --resume both").code == 0);
  const std::string report = read_file(shell.folder / "both/comparison.json");
  shell.write("texts.tsv", rows.substr(0, rows.size() / 2));
  const Answer other = shell.minima("compare --resume both");
  CHECK(other.code == 2);
  CHECK(other.err.find("train have changed since the beginning: texts") != std::string::npos);
  CHECK(read_file(shell.folder / "both/comparison.json") == report);
}

TEST_CASE("Ctrl-C saves and stops, and the run is as if it had not been") {
  const Shell shell;
  const std::string epochs = std::string(kTinyModel) + " --epochs 40 --batch 4 --accumulate 2";
  // At the first line of metrics.
  const Interrupted first =
      train_interrupted(shell, epochs,
                        "until grep -qs grad_norm run/metrics.jsonl; do kill -0 $child || exit 9; "
                        "sleep 0.02; done\nkill -INT $child");
  CAPTURE(first.err);
  CHECK(first.code == 130);
  CHECK(first.err.find("train --resume run") != std::string::npos);
  CHECK_FALSE(shell.exists("run/final"));
  CHECK(shell.minima("report run --out page").code == 0);  // of what there is so far
  const Answer inspected = shell.minima("inspect run");    // its newest checkpoint, which it names
  CHECK(inspected.code == 0);
  CHECK(inspected.out.find("run/checkpoints/step-") == 0);
  CHECK(shell.minima("report run --out run").err.find("is the folder of a run") !=
        std::string::npos);
  CHECK(read_file(shell.folder / "page/report.html").find("has taken") != std::string::npos);
  shell.write("taken", "");
  for (const std::string place : {"taken", "taken/x"})
    CHECK(shell.minima("report run --out " + place).err ==
          "minima: " + place + ": cannot be created: Not a directory\n");
  REQUIRE(shell.minima("train --resume run").code == 0);
  REQUIRE(shell.minima("train" + epochs + " --out whole").code == 0);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
}

TEST_CASE("a training that fails leaves its report, and resumed it names the way out") {
  const Shell shell;
  const Answer failed = shell.minima(std::string("train --lr 1e30 --out run") + kTiny);
  CHECK(failed.code == 1);
  CHECK(failed.err.find("report: run/report.html\nminima: train: ") != std::string::npos);
  CHECK(failed.err.ends_with("may help\n"));
  for (const bool from_log : {false, true}) {
    if (from_log) std::filesystem::remove(shell.folder / "run/comparison.json");
    const Answer report = shell.minima("report run");
    CHECK(report.code == 0);
    CHECK(report.err.find("failed: train: ") != std::string::npos);
    CHECK(report.out.find("failed") != std::string::npos);
    const std::string page = read_file(shell.folder / "run/report.html");
    CHECK(page.find("</strong> failed after ") != std::string::npos);
    CHECK(page.find("has not ended") == std::string::npos);
  }
  const Answer resumed = shell.minima("train --resume run");
  CHECK(resumed.code == 1);
  CHECK(resumed.err.ends_with(
      "what is resumed takes the same steps: begin a new run with another --lr\n"));
}

TEST_CASE("where a disk refuses, the error says how the run goes on") {
  const Shell shell;
  for (const std::string verb : {"train", "compare", "pretrain"}) {
    const std::string begun = verb + " --save-every 0 --out " + verb + kTiny + " --batch 2";
    const Answer refused = shell.minima(begun, "", "ulimit -f 16 && env");
    CAPTURE(refused.err);
    CHECK(refused.code == 1);
    CHECK(refused.err.ends_with("File too large; when that is mended, go on with: minima " + verb +
                                " --resume " + verb + "\n"));
    CHECK(shell.minima(verb + " --resume " + verb).code == 0);
  }
  const Answer search = shell.minima(std::string("train --find-lr --out curves") + kTinyModel, "",
                                     "ulimit -f 4 && env");
  CHECK(search.code == 1);
  CHECK(search.out.empty());  // no curve is shown that is not kept
}

TEST_CASE("a search for a learning rate that is stopped says what is left of it") {
  const Shell shell;
  // Steps of seconds, interrupted as soon as the program catches interrupts (bit 1 of SigCgt).
  const Interrupted stopped = train_interrupted(
      shell,
      " --find-lr --model tiny --dim 768 --hidden 3072 --layers 2 --heads 12 --batch 1000 "
      "--max-length 64 --threads 1",
      "until mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' /proc/$child/status) && "
      "(( 0x$mask & 2 )); do kill -0 $child || exit 9; sleep 0.02; done\nkill -INT $child");
  CAPTURE(stopped.err);
  CHECK(stopped.code == 130);
  CHECK(stopped.err.ends_with("stopped before the first curve was whole; nothing is written\n"));
  CHECK_FALSE(shell.exists("run"));
}

TEST_CASE("a training that is asked to end by another signal dies of that") {
  const Shell shell;
  const Interrupted ended =
      train_interrupted(shell, " --model tiny --dim 16 --hidden 16 --epochs 900 --threads 1",
                        "until grep -qs grad_norm run/metrics.jsonl; do kill -0 $child || exit 9; "
                        "sleep 0.02; done\nkill -TERM $child");
  CAPTURE(ended.err);
  CHECK(ended.code == 143);
  CHECK(ended.err.find("train --resume run") != std::string::npos);
}

TEST_CASE("A second Ctrl-C stops at once, in the middle of a step") {
  const Shell shell;
  // Steps of seconds. The shell interrupts from when the program catches interrupts (bit 1 of SigCgt) until it is gone:
  // within the first step, where nothing can be saved yet.
  const std::string step =
      " --model tiny --dim 768 --hidden 3072 --layers 6 --heads 12 --batch 100000 --max-length 64 "
      "--threads 1";
  const Interrupted twice =
      train_interrupted(shell, step,
                        "until mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' /proc/$child/status) && "
                        "(( 0x$mask & 2 )); do kill -0 $child || exit 9; sleep 0.02; done\n"
                        "while kill -INT $child 2> /dev/null; do sleep 0.02; done");
  CAPTURE(twice.err);
  CHECK(twice.code == 130);
  CHECK(twice.err.find("--resume") == std::string::npos);
  CHECK_FALSE(shell.exists("run/checkpoints"));
}

#if defined(MINIMA_EMULATED)
TEST_CASE(
    "a device without memory for a run says what needed it and what to change, and harms no "
    "checkpoint") {
  const Shell shell;
  const std::string train =
      "train --model tiny --dim 16 --hidden 16 --max-length 16 --threads 1 --device emulated "
      "--batch 16 --steps 4 "
      "--save-every 2";
  REQUIRE(shell.minima(train + " --out run").code == 0);
  std::filesystem::remove_all(shell.folder / "run/final");  // as if it had been killed
  const auto checkpoint = shell.folder / "run/checkpoints/step-2";
  const auto bytes_of = [&] {
    std::string all;
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json"})
      all += read_file(checkpoint / name);
    return all;
  };
  const std::string before = bytes_of();
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"100000", "the weight 'distilbert."},
      {"400000", "the optimizer's state 'distilbert."},
      {"650000", "train: step 3, forward of 16 texts: a tensor f32 ["},
      {"735000", "tokens: backward of '"},
      {"820000", "train: evaluation after step 4"}};
  for (const auto& [memory, what] : cases) {
    const Answer refused =
        shell.minima("train --resume run", "", fmt::format("MINIMA_EMULATED_MEMORY={}", memory));
    CAPTURE(memory);
    CAPTURE(refused.err);
    CHECK(refused.code == 1);
    for (const char* words : {what, "bytes cannot be had on emulated", "--batch",
                              "--checkpoint-layers", "--state block8"})
      CHECK(refused.err.find(words) != std::string::npos);
    CHECK(bytes_of() == before);
  }
  CHECK(shell.minima("train --resume run").code == 0);
}

TEST_CASE("a run goes on on another device, which it tells; the runs of a comparison do not") {
  const Shell shell;
  const std::string train =
      std::string("train") + kTinyModel + " --steps 4 --save-every 2 --device ";
  REQUIRE(shell.minima(train + "cpu --out cpu").code == 0);
  REQUIRE(shell.minima(train + "emulated --out run").code == 0);
  std::filesystem::remove_all(shell.folder / "run/final");
  std::filesystem::remove_all(shell.folder / "run/checkpoints/step-4");
  const Answer resumed = shell.minima("train --resume run --device cpu");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.err.find("begun on emulated, the run goes on on cpu: from here on numbers agree "
                         "within rounding") != std::string::npos);
  const auto test_loss = [&](const char* run) {
    const std::string log = read_file(shell.folder / run / "metrics.jsonl");
    return parse_json(log.substr(log.rfind('\n', log.size() - 2) + 1), run)["test"]["loss"]
        .get<double>();
  };
  CHECK(test_loss("run") == doctest::Approx(test_loss("cpu")).epsilon(1e-5));
  const std::string compare =
      std::string("compare") + kTinyModel + " --steps 2 --optimizers sgd --device ";
  REQUIRE(shell.minima(compare + "emulated --out both").code == 0);
  const Answer refused = shell.minima("compare --resume both --device cpu");
  CHECK(refused.code == 2);
  CHECK(refused.err.find("--device is cpu here, emulated in") != std::string::npos);
}
#endif
