/// Trainings that are killed, or whose disk fails, at chosen system calls; and go on as if nothing had been.
///
/// The process forks: the child trains, with the fault set, and dies; another child goes on with what the first one
/// left, and must end with the same bits as a training that was left alone. MINIMA_CRASHES=200 tries so many places
/// instead of a few; `./run crash-test 200` sets it.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <set>

#include "core/cpu/threads.hpp"
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "tests/crash/faults.hpp"
#include "tests/train/fifty_steps.hpp"

using namespace minima;
using Folder = test::RunFolder;
using test::small_task;
namespace fs = std::filesystem;

namespace {

/// 50 steps of 4 batches, a checkpoint every 3 steps.
TrainingOptions options() {
  TrainingOptions options{.epochs = 10, .batch = BatchSize::of_texts(5), .accumulate = 4};
  options.save_every = 3;
  return options;
}

const char* const kSpec = "adamw8bit:lr=1e-2:min_8bit_size=64";

/// Trains in a folder as `minima train --out` does, or as `--resume` where a run is there already.
void train_in(const fs::path& folder) {
  const FolderLock lock(folder);  // which a kill must not leave behind
  run_training(small_task(), kSpec, options(), {folder, fs::exists(folder / "run.json")});
}

/// How a child ended: its exit code, or minus the signal.
int in_child(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    int code = 0;
    try {
      work();
    } catch (const Error& error) {
      code = error.fault == Fault::runtime ? 1 : 2;
      if (std::getenv("MINIMA_VERBOSE")) fmt::print(stderr, "{}\n", error.what());
    } catch (const std::exception& error) {  // the program says it and ends with 1
      code = 1;
      if (std::getenv("MINIMA_VERBOSE")) fmt::print(stderr, "{}\n", error.what());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/// What a finished run left, without times: weights, optimizer and every line of metrics.
std::string outcome(const fs::path& folder) {
  return read_file(folder / "final/model.safetensors") +
         read_file(folder / "final/optimizer.safetensors") +
         fmt::format("{}", fmt::join(test::metrics_of(folder), "\n"));
}

struct Reference {
  std::string outcome;
  long calls = 0;
};

/// The run that nothing happens to; trained once, in a child, so that this process starts no thread before it forks.
const Reference& reference() {
  static const Reference result = [] {
    const Folder folder;
    const fs::path run = folder.path / "run", count = folder.path / "count";
    fs::create_directories(folder.path);
    small_task();
    REQUIRE(in_child([&] {
              test::set_fault({});
              train_in(run);
              const long calls = test::calls_counted();
              write_file(count, std::to_string(calls));
            }) == 0);
    return Reference{outcome(run), std::stol(read_file(count))};
  }();
  return result;
}

/// `n` places among the calls of a whole run, evenly, from the first to the last.
std::vector<long> places(long n, long calls) {
  std::vector<long> all;
  for (long i = 0; i < n; ++i) all.push_back(1 + i * (calls - 1) / std::max(1L, n - 1));
  return all;
}

long wanted(long quick) {
  const char* asked = std::getenv("MINIMA_CRASHES");
  return asked ? std::stol(asked) : quick;
}

}  // namespace

TEST_CASE("a training killed at any system call goes on and ends with the same bits") {
  set_threads(1);
  const Reference& expected = reference();
  REQUIRE(expected.calls > 100);
  long killed = 0, equal = 0;
  const std::vector<long> all = places(wanted(16), expected.calls);
  for (const long place : all) {
    CAPTURE(place);
    const Folder folder;
    const fs::path run = folder.path / "run";
    const int end = in_child([&] {
      test::set_fault({.at = place});
      train_in(run);
    });
    CHECK(end == -SIGKILL);
    killed += end == -SIGKILL;
    CHECK(in_child([&] { train_in(run); }) == 0);
    const bool same = outcome(run) == expected.outcome;
    CHECK(same);
    equal += same;
  }
  MESSAGE(killed << " of " << all.size() << " killed, " << equal
                 << " of them went on bit for bit; a run makes " << expected.calls
                 << " calls that change files");
}

TEST_CASE("a training killed again and again goes on and ends with the same bits") {
  set_threads(1);
  const Reference& expected = reference();
  const Folder folder;
  const fs::path run = folder.path / "run";
  int end = -1;
  for (int life = 0; life < 60 && end != 0; ++life)
    end = in_child([&] {
      test::set_fault({.at = 40 + 37 * life % 61});
      train_in(run);
    });
  CHECK(in_child([&] { train_in(run); }) == 0);
  CHECK(outcome(run) == expected.outcome);
}

TEST_CASE(
    "a disk that is full, broken or read-only ends training with an error, and nothing is lost") {
  set_threads(1);
  const Reference& expected = reference();
  for (const int error : {ENOSPC, EIO, EROFS}) {
    for (const int lasting : {1, 1 << 30}) {
      for (const long place : places(wanted(16) / 4, expected.calls)) {
        CAPTURE(error);
        CAPTURE(lasting);
        CAPTURE(place);
        const Folder folder;
        const fs::path run = folder.path / "run";
        const int end = in_child([&] {
          test::set_fault({.at = place, .error = error, .lasting = lasting});
          train_in(run);
        });
        // Some calls may fail without harm: the removal of what goes in any case, say.
        CHECK((end == 1 || (end == 0 && lasting == 1)));
        CHECK(in_child([&] { train_in(run); }) == 0);
        CHECK(outcome(run) == expected.outcome);
      }
    }
  }
}

TEST_CASE("a folder killed in its replacement at any system call is the old one or the new one") {
  const Folder home;
  const fs::path folder = home.path / "model";
  const auto write = [&](const std::string& bytes) {
    write_folder(folder, [&](const fs::path& part) {
      write_file(part / "a", bytes);
      write_file(part / "b", bytes);
    });
  };
  const auto held = [](const fs::path& path) {
    return read_file(path / "a") + read_file(path / "b");
  };
  std::set<std::string> seen;
  int end = -SIGKILL;
  long place = 1;
  for (; end != 0 && place < 100; ++place) {
    CAPTURE(place);
    write("old ");
    end = in_child([&] {
      test::set_fault({.at = place});
      write("new ");
    });
    const fs::path away =
        folder.string() + ".minima-replaced";  // where two names cannot be exchanged
    const std::string what = held(fs::exists(folder) ? folder : away);
    CHECK((what == "old old " || what == "new new "));
    if (end != 0) seen.insert(what);
  }
  CHECK(end == 0);
  CHECK(place > 10);
  CHECK(seen.size() == 2);
  write("last ");
  CHECK(held(folder) == "last last ");
  CHECK(std::distance(fs::directory_iterator(home.path), {}) == 1);
}

TEST_CASE("a disk without room for the model is refused before the first step") {
  const Folder folder;
  const fs::path run = folder.path / "run";
  CHECK(in_child([&] {
          test::set_fault({.room = 1 << 20});
          train_in(run);
        }) == 1);
  CHECK_FALSE(fs::exists(run / "metrics.jsonl"));
  CHECK(in_child([&] { train_in(run); }) == 0);  // nothing there is in its way
}

TEST_CASE("a folder that cannot be written is refused in the first step") {
  const Folder folder;
  fs::create_directories(folder.path);
  write_file(folder.path / "file", "");
  CHECK(in_child([&] { train_in(folder.path / "file" / "run"); }) == 1);
}
