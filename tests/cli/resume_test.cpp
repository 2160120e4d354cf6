/// minima train --resume, and Ctrl-C.
#include <fmt/format.h>
#include <sys/wait.h>

#include "core/file.hpp"
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
  CHECK(read_file(shell.folder / "page/report.html").find("has taken") != std::string::npos);
  REQUIRE(shell.minima("train --resume run").code == 0);
  REQUIRE(shell.minima("train" + epochs + " --out whole").code == 0);
  CHECK(read_file(shell.folder / "run/final/model.safetensors") ==
        read_file(shell.folder / "whole/final/model.safetensors"));
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
