#include "core/files/folder.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>
#include <set>
#include <thread>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {
bool can_exchange = true;
int exchanges = 0;
}  // namespace

/// Stands before the C library's: a file system that can exchange two names, or one that cannot.
extern "C" int renameat2(int from_folder, const char* from, int to_folder, const char* to,
                         unsigned flags) noexcept {
  exchanges += flags == RENAME_EXCHANGE;
  if (can_exchange)
    return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
  errno = EINVAL;
  return -1;
}

TEST_CASE("a folder is replaced whole, and stays as it was where filling it fails") {
  for (const bool can : {true, false}) {
    CAPTURE(can);
    can_exchange = can;
    exchanges = 0;
    const test::Folder home;
    const std::filesystem::path folder = std::filesystem::path(home.path()) / "deep" / "model";
    const auto write = [&](const char* name, const char* bytes, bool fails = false) {
      write_folder(folder, [&](const std::filesystem::path& part) {
        CHECK(std::filesystem::is_empty(part));
        write_file(part / name, bytes);
        if (fails) fail("no more");
      });
    };
    const auto only = [&](const std::string& name, const std::string& bytes) {
      CHECK(read_file(folder / name) == bytes);
      CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
      CHECK(std::distance(std::filesystem::directory_iterator(folder.parent_path()), {}) == 1);
    };
    // Where nothing comes of it, no folder above is left either.
    CHECK(test::error_of([&] { write("c", "3", true); }) == "no more");
    CHECK(std::filesystem::is_empty(home.path()));
    write("a", "1");
    only("a", "1");
    CHECK(exchanges == 0);
    write("b", "2");
    only("b", "2");
    CHECK(exchanges == 1);
    CHECK(test::error_of([&] { write("c", "3", true); }) == "no more");
    only("b", "2");
    // What a kill left of an earlier try.
    std::filesystem::create_directory(part_of(folder));
    write_file(part_of(folder) / "half", "x");
    std::filesystem::rename(folder, folder.string() + ".minima-replaced");
    write("d", "4");
    only("d", "4");
  }
  can_exchange = true;
}

TEST_CASE(
    "folders and files beside it that somebody else has made stay, whatever they are called") {
  for (const bool can : {true, false}) {
    can_exchange = can;
    const test::Folder home;
    const std::filesystem::path at = home.path();
    for (const char* name : {"model.part", "model.replaced", "model.tmp", "model.old"})
      write_folder(at / name, [](const auto& part) { write_file(part / "mine", "x"); });
    home.write("file.part", "mine");
    for (int time = 0; time < 2; ++time) {
      write_folder(at / "model", [](const auto& part) { write_file(part / "x", ""); });
      write_file(at / "file", "x");
    }
    for (const char* name : {"model.part", "model.replaced", "model.tmp", "model.old"})
      CHECK(read_file(at / name / "mine") == "x");
    CHECK(read_file(at / "file.part") == "mine");
    CHECK(std::distance(std::filesystem::directory_iterator(at), {}) == 7);
  }
  can_exchange = true;
}

TEST_CASE("a folder is filled by one at a time, and is that one's alone") {
  const test::Folder home;
  const std::filesystem::path folder = std::filesystem::path(home.path()) / "model";
  for (const char* bytes :
       {"first", "second"}) {  // where there was none, and in the place of another
    write_folder(folder, [&](const std::filesystem::path& part) {
      write_file(part / "a", bytes);
      const auto other = [](const std::filesystem::path& same) { write_file(same / "b", "other"); };
      CHECK(
          test::contains(test::error_of([&] { write_folder(folder, other); }), "is at work in it"));
      write_file(part / "c", bytes);
    });
    CHECK(read_file(folder / "a") + read_file(folder / "c") == std::string(bytes) + bytes);
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 2);
    CHECK(std::distance(std::filesystem::directory_iterator(home.path()), {}) == 1);
  }
  const FolderLock training(folder);
  CHECK(test::contains(test::error_of([&] { write_folder(folder, [](const auto&) {}); }),
                       folder.string() + ": "));
  CHECK_FALSE(std::filesystem::exists(part_of(folder)));
}

TEST_CASE("a folder that cannot be made is named, and nothing that was made for it is left") {
  const test::Folder home;
  home.write("file", "");
  const std::string folder = home.path() + "/file/new";
  const std::string message = test::error_of([&] { write_folder(folder, [](const auto&) {}); });
  CHECK(test::contains(message, folder + ": cannot be created: "));
  // A slash at the end is no part of the name.
  write_folder(home.path() + "/a/b/", [](const auto& part) { write_file(part / "x", ""); });
  CHECK(std::filesystem::exists(home.path() + "/a/b/x"));
  CHECK(std::distance(std::filesystem::directory_iterator(home.path() + "/a"), {}) == 1);
}

TEST_CASE("a folder has one process at a time, which is named, and a killed one leaves no lock") {
  const test::Folder home;
  // In memory where there is such a place: what the system tells of locks names the files of some file systems otherwise.
  const bool memory = std::filesystem::exists("/dev/shm");
  const std::filesystem::path folder = std::filesystem::path(memory ? "/dev/shm" : home.path()) /
                                       fmt::format("minima-lock-{}", getpid());
  const auto error = [&] { return test::error_of([&] { const FolderLock lock(folder); }); };
  std::filesystem::create_directories(folder);
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const FolderLock lock(folder);
    if (write(ready[1], "!", 1) == 1) pause();
    _exit(0);
  }
  close(ready[1]);
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const std::string holder = memory ? fmt::format("process {}", child) : "another process";
  CHECK(error().find(fmt::format("{}: {} is at work in it", folder.string(), holder)) == 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  CHECK(error() == "");
  std::optional<FolderLock> first(folder);
  CHECK(error() != "");
  first.reset();
  CHECK(error() == "");
  CHECK(std::filesystem::is_empty(folder));
  std::filesystem::remove(folder);
}

TEST_CASE("a folder that a lock has made goes with it unless something was put into it") {
  const test::Folder home;
  const std::filesystem::path top = std::filesystem::path(home.path()) / "runs", run = top / "one";
  { const FolderLock lock(run); }
  CHECK_FALSE(std::filesystem::exists(top));
  {
    const FolderLock lock(run);
    write_file(run / "file", "x");
  }
  CHECK(std::filesystem::exists(run / "file"));
  const FolderLock again(run);
  CHECK(test::error_of([&] { const FolderLock lock(run / "file"); }).find("cannot be created") !=
        std::string::npos);
  CHECK(test::error_of([&] {
          const FolderLock lock(run / "file" / "run");
        }).find("cannot be created") != std::string::npos);
}

TEST_CASE("folders are made while others take away the empty ones above that they have made") {
  const test::Folder home;
  constexpr std::size_t kThreads = 4, kRounds = 300;
  std::array<std::string, kThreads> errors;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        const auto own = std::filesystem::path(home.path()) / "runs/of" / fmt::format("{}", t);
        for (std::size_t round = 0; round < kRounds; ++round)
          errors[t] += test::error_of([&] { const FolderLock lock(own); });
      });
  }
  for (const std::string& error : errors) CHECK(error == "");
}

TEST_CASE("of those that ask for a new folder at once each gets its own") {
  const test::Folder home;
  const std::filesystem::path first = std::filesystem::path(home.path()) / "runs/one";
  constexpr std::size_t kThreads = 4, kRounds = 50;
  std::barrier together(kThreads);
  std::array<std::vector<FolderLock>, kThreads> locks;
  std::array<std::string, kThreads> errors;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (std::size_t round = 0; round < kRounds; ++round) {
          together.arrive_and_wait();
          errors[t] += test::error_of([&] { locks[t].push_back(FolderLock::on_new(first)); });
        }
      });
  }
  std::set<std::filesystem::path> paths;
  for (std::size_t t = 0; t < kThreads; ++t) {
    CHECK(errors[t] == "");
    for (const FolderLock& lock : locks[t]) paths.insert(lock.path());
  }
  CHECK(paths.size() == kThreads * kRounds);
  CHECK(paths.contains(first));
  CHECK(paths.contains(first.string() + fmt::format("-{}", kThreads * kRounds)));
  for (const std::filesystem::path& path : paths) CHECK(std::filesystem::is_empty(path));
}
