/// Whole files and JSON.
#include "core/files/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "core/files/json.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::error_of;
using test::fault_of;

namespace {

int entries(const std::string& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

}  // namespace

TEST_CASE("what is written is read, zeros and all, and nothing else is left in the folder") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x", bytes("a\0b\r\n\xff", 6);
  write_file(path, bytes);
  CHECK(read_file(path) == bytes);
  write_file(path, "");
  CHECK(read_file(path) == "");
  write_file(path, [](const Append& append) {
    for (int i = 0; i < 1000; ++i) append("0123456789", 10);
  });
  CHECK(read_file(path).size() == 10'000);
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a file that is written anew may be read by whom it could be read before") {
  const test::Folder folder;
  const std::filesystem::path file = folder.path() + "/secret";
  write_file(file, "one");
  std::filesystem::permissions(
      file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  write_file(file, "two");
  CHECK(std::filesystem::status(file).permissions() ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a file that cannot be read is named, with the reason") {
  const test::Folder folder;
  CHECK(error_of([] { read_file("/no/such/file"); }) ==
        "/no/such/file: cannot be opened: No such file or directory");
  CHECK(contains(error_of([&] { read_file(folder.path()); }), "is a folder, not a file"));
  const std::string link = folder.path() + "/link";
  CHECK_FALSE(is_there(link));
  std::filesystem::create_symlink("gone", link);
  CHECK(is_there(link));
  const std::string message =
      link + ": cannot be opened: it is a link to 'gone', which is not there";
  CHECK(error_of([&] { read_file(link); }) == message);
  CHECK(error_of([&] { InputFile file(link); }) == message);
  CHECK(fault_of([] { read_file("/no/such/file"); }) == Fault::input);
}

TEST_CASE(
    "what is larger than anything that is read at once is refused unread; a pipe is read to its "
    "end") {
  const test::Folder folder;
  const std::string large = folder.write("large", "{}"), pipe = folder.path() + "/pipe";
  std::filesystem::resize_file(large, u64{100} << 30);  // of holes
  CHECK(contains(error_of([&] { read_file(large); }),
                 "large: has 107374182400 bytes; what is read at once may have 1073741824"));
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(error_of([&] { InputFile file(pipe); }), pipe + ": is a pipe or a device"));
  CHECK(error_of([&] { read_file(pipe); }) == pipe + ": is a pipe into which nobody writes");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const std::string all(200'000, 'x');
  std::size_t read = 0;
  {
    const std::jthread writer([&] {
      for (ssize_t at = 0, count; at < std::ssize(all); at += count) {
        count = ::write(ends[1], all.data() + at, all.size() - static_cast<std::size_t>(at));
        if (count < 0) break;
      }
      ::close(ends[1]);
    });
    read = read_file(fmt::format("/dev/fd/{}", ends[0])).size();
  }
  ::close(ends[0]);
  CHECK(read == all.size());
}

TEST_CASE("a write that fails half-way leaves the old file and nothing else") {
  const test::Folder folder;
  const std::string path = folder.write("x", "old");
  CHECK(error_of([&] {
          write_file(path, [](const Append& append) {
            append("half", 4);
            fail("no more");
          });
        }) == "no more");
  CHECK(read_file(path) == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a file is written by one at a time, and what a killed one has left is replaced") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x";
  folder.write("x.minima-part", "what a kill has left, longer than what follows");
  write_file(path, [&](const Append& append) {
    append("one", 3);
    const std::string message = error_of([&] { write_file(path, "other"); });
    CHECK(message.starts_with(part_of(path).string() + ": "));
    CHECK(contains(message, "is at work on it"));
    append("two", 3);
  });
  CHECK(read_file(path) == "onetwo");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("what has another name by the time that it is locked is another process's") {
  const test::Folder folder;
  const std::string path = folder.write("part", ""), whole = folder.path() + "/whole";
  const int fd = open(path.c_str(), O_RDONLY), again = open(path.c_str(), O_RDONLY);
  CHECK(lock(fd, path) == "");
  CHECK(lock(again, path) != "");
  std::filesystem::rename(path, whole);
  CHECK(lock(fd, path) == "another process");
  folder.write("part", "");
  CHECK(lock(fd, path) == "another process");
  CHECK(lock(fd, whole) == "");
  close(fd);
  CHECK(lock(again, whole) == "");
  close(again);
}

TEST_CASE("what the disk refuses is a failure at run time, and names the file") {
  const test::Folder folder;
  const auto in_no_folder = [&] { write_file(folder.path() + "/none/x", "bytes"); };
  CHECK(contains(error_of(in_no_folder), "/none/x"));
  CHECK(contains(error_of(in_no_folder), "No such file or directory"));
  CHECK(fault_of(in_no_folder) == Fault::runtime);
  // A folder stands where the file should be.
  std::filesystem::create_directory(folder.path() + "/taken");
  folder.write("taken/inside", "");
  CHECK(contains(error_of([&] { write_file(folder.path() + "/taken", "bytes"); }),
                 "cannot be renamed into place"));
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE(
    "a name's ending is read in small letters, and what is written has another name for a while") {
  CHECK(ending("a/Texts.CSV") == ".csv");
  CHECK(ending("a.b/texts") == "");
  CHECK(part_of("a/b.txt") == "a/b.txt.minima-part");
  CHECK(part_of("a/b/") == "a/b.minima-part");
}

TEST_CASE("JSON with a duplicate key is refused, in whatever object it stands") {
  CHECK(parse_json(R"({"a":{"a":1},"b":[{"a":2},{"a":3}]})", "x").size() == 2);
  CHECK(error_of([] { parse_json(R"({"a":1,"b":2,"a":3})", "config.json"); }) ==
        "config.json: the key 'a' occurs twice");
  CHECK(error_of([] { parse_json(R"([{"b":{"c":1,"c":1}}])", "x"); }) ==
        "x: the key 'c' occurs twice");
  CHECK(error_of([] { parse_json(R"({"a":1,"\u0061":2})", "x"); }) ==
        "x: the key 'a' occurs twice");
}

TEST_CASE("JSON that is none is refused with its source") {
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "nul", "{\"a\":1} x", "\"\xff\"", "1e999"})
    CHECK_MESSAGE(contains(error_of([&] { parse_json(text, "x.json"); }), "x.json: not valid JSON"),
                  text);
  CHECK(error_of([] { parse_json("{\n\"a\": tru}", "x.json"); }) ==
        "x.json: not valid JSON: line 2, column 9, after '\"a\": tru}'");
  CHECK(error_of([] { parse_json("[1e999]", "x.json"); }) ==
        "x.json: not valid JSON: number overflow parsing '1e999'");
  CHECK(contains(error_of([] { parse_json(std::string(10'000, '['), "x"); }),
                 "nested deeper than 256"));
}

TEST_CASE("JSON keeps the order of its keys") {
  CHECK(parse_json(R"({"z":1,"a":2})", "x").dump() == R"({"z":1,"a":2})");
}

TEST_CASE("an object of very many keys is read in no more time than its bytes take") {
  constexpr std::size_t kKeys = 300'000;
  std::string text = "{";
  for (std::size_t i = 0; i < kKeys; ++i)
    text += fmt::format("{}\"{}\":{}", i > 0 ? "," : "", i, i);
  const Json json = parse_json(text + "}", "x");
  CHECK(json.size() == kKeys);
  CHECK(json.back() == kKeys - 1);
}

TEST_CASE("a log that was removed while it is written is not written on without a word") {
  const test::Folder folder;
  const std::filesystem::path path = std::filesystem::path(folder.path()) / "log";
  AppendFile log(path, 0);
  log.append("a line\n");
  std::filesystem::remove(path);
  CHECK(contains(error_of([&] { log.append("another\n"); }), "was removed"));
}
