#include "core/folder.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/error.hpp"
#include "core/file.hpp"
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
    std::filesystem::create_directory(folder.string() + ".part");
    write_file(folder.string() + ".part/half", "x");
    std::filesystem::rename(folder, folder.string() + ".replaced");
    write("d", "4");
    only("d", "4");
  }
  can_exchange = true;
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
