/// Files that are mapped into memory, and what becomes of them meanwhile.
#include "core/files/mapped_file.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

/// `size` bytes of which no two places look alike.
std::string bytes_of(std::size_t size) {
  std::string bytes(size, ' ');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 24);
  return bytes;
}

std::string read(const MappedFile& file, u64 count, u64 begin) {
  std::string bytes(count, ' ');
  file.read(bytes.data(), count, begin);
  return bytes;
}

/// What of mapped files this process has in memory, in kB.
i64 mapped_kilobytes() {
  const std::string status = read_file("/proc/self/status"), key = "RssFile:";
  return std::stoll(status.substr(status.find(key) + key.size()));
}

}  // namespace

TEST_CASE("a mapped file gives the bytes of any place, and does not stay in memory") {
  constexpr u64 kMegabyte = 1 << 20, kSize = 33 * kMegabyte + 5;
  const test::Folder folder;
  const std::string bytes = bytes_of(kSize), path = folder.write("x", bytes);
  const MappedFile file(path);
  CHECK(file.size() == kSize);
  const i64 before = mapped_kilobytes();
  CHECK(read(file, kSize, 0) == bytes);
  CHECK(mapped_kilobytes() - before < 8 * 1024);
  for (const auto& [begin, count] :
       {std::pair<u64, u64>{1, 7}, {4095, 2}, {4 * kMegabyte - 1, 4 * kMegabyte + 3}, {kSize, 0}})
    CHECK(read(file, count, begin) == bytes.substr(begin, count));
  CHECK(MappedFile(folder.write("empty", "")).size() == 0);
}

TEST_CASE("a mapped file that is cut off is an error, within a page, at a page, and at nothing") {
  const test::Folder folder;
  const std::string bytes = bytes_of(20'000), path = folder.write("x", bytes);
  for (const std::uintmax_t size : {19'999, 16'384, 10, 0}) {
    CAPTURE(size);
    folder.write("x", bytes);
    const MappedFile file(path);
    std::filesystem::resize_file(path, size);
    const std::string message = error_of([&] { read(file, 20'000, 0); });
    CHECK(message ==
          fmt::format("{}: ends at byte {}; it had 20000 when it was opened", path, size));
    CHECK(read(file, size / 2, 0) == bytes.substr(0, size / 2));  // what is before the cut
    std::filesystem::resize_file(path, 30'000);
    CHECK(error_of([&] { read(file, 20'000, 0); }) == "");
  }
  folder.write("x", bytes);
  const MappedFile file(path);
  write_file(path, "another file, put in its place");
  CHECK(read(file, 20'000, 0) == bytes);  // the old one lives while it is open
}

TEST_CASE("a signal that is not a copy's ends the process as ever") {
  const test::Folder folder;
  const MappedFile file(folder.write("x", "bytes"));
  CHECK(read(file, 5, 0) == "bytes");
  const pid_t child = fork();
  if (child == 0) {
    if (freopen("/dev/null", "w", stderr)) raise(SIGBUS);  // a sanitizer's report goes there
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) != 0));
}

TEST_CASE("what cannot be mapped is refused, and a pipe is not waited for") {
  const test::Folder folder;
  const std::string pipe = folder.path() + "/pipe";
  CHECK(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(error_of([&] { MappedFile file(pipe); }), pipe + ": is a pipe or a device"));
  CHECK(contains(error_of([] { MappedFile file("/dev/zero"); }), "is a pipe or a device"));
  CHECK(contains(error_of([&] { MappedFile file(folder.path()); }), "is a folder, not a file"));
  CHECK(contains(error_of([] { MappedFile file("/no/such"); }), "No such file"));
  const char* unmappable = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (is_there(unmappable))
    CHECK(
        contains(error_of([&] { MappedFile file(unmappable); }), "cannot be mapped into memory: "));
  else
    MESSAGE("skipped: no ", unmappable);
}
