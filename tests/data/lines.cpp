/// Lines of files and streams, and how a text is shown in a message.
#include "data/readers/lines.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "core/text/utf8.hpp"
#include "data/dataset.hpp"
#include "data/readers/reader.hpp"
#include "tests/data/files.hpp"

namespace minima {

TEST_CASE("lines of a stream are taken as they are, up to the greatest length") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto send = [&](const std::string& bytes) {
    REQUIRE(::write(ends[1], bytes.data(), bytes.size()) == std::ssize(bytes));
  };
  Lines lines = Lines::of_stream(ends[0], "here");
  CHECK_FALSE(lines.ready());
  std::thread other([&] { send("\xEF\xBB\xBF\xFF one\r\n\ntw"); });
  CHECK(lines.ready(std::chrono::milliseconds(900)));  // as soon as the other has sent it
  other.join();
  CHECK(lines.ready());
  CHECK(lines.next());
  CHECK(lines.line() == "\xEF\xBB\xBF\xFF one");
  CHECK(lines.ready());
  CHECK(lines.next());
  CHECK(lines.line().empty());
  CHECK_FALSE(lines.ready());  // "tw" may go on
  send("o");
  ::close(ends[1]);
  CHECK(lines.ready());
  CHECK(lines.next());
  CHECK(lines.line() == "two");
  CHECK(lines.number() == 3);
  CHECK_FALSE(lines.next());
  ::close(ends[0]);

  const test::Folder folder;
  const std::string most(kMaxLineBytes, 'a');
  std::FILE* file = std::fopen(folder.write("x", most + "\n" + most + "b\nc\n").c_str(), "rb");
  Lines long_ones = Lines::of_stream(::fileno(file), "here");
  CHECK(long_ones.next());
  CHECK(long_ones.line().size() == kMaxLineBytes);
  CHECK(long_ones.ready());
  CHECK(test::error_of([&] { long_ones.next(); }) ==
        "here:2: the line has more than 1048576 bytes");
  std::fclose(file);
}

TEST_CASE(
    "the longest line may end with CRLF, also where what has been read ends between the two") {
  constexpr std::size_t kBlock = std::size_t{1} << 18;  // of what is read at once
  const test::Folder folder;
  const std::string before(kBlock - 2, 'b'), most(kMaxLineBytes, 'a');
  for (const std::string more : {"\r\nc\n", "\r\n", "\rb\n", "b\n", "b"}) {
    CAPTURE(more);
    const std::string path = folder.write("long.txt", before + '\n' + most + more);
    std::FILE* file = std::fopen(path.c_str(), "rb");
    for (Lines& lines : std::array{Lines(path), Lines::of_stream(::fileno(file), path)}) {
      CHECK(lines.next());
      CHECK(lines.ready());
      const std::string error = test::error_of([&] { CHECK(lines.next()); });
      CHECK(error.empty() == more.starts_with("\r\n"));
      if (error.empty()) CHECK(lines.line() == most);
    }
    std::fclose(file);
  }
}

TEST_CASE("a stream without a line feed is one line, unless carriage returns end its lines") {
  const test::Folder folder;
  for (const std::string text : {"one two", "one\rtwo\r"}) {
    std::FILE* file = std::fopen(folder.write("x", text).c_str(), "rb");
    Lines lines = Lines::of_stream(::fileno(file), "here");
    const std::string error = test::error_of([&] { CHECK(lines.next()); });
    CHECK(error.empty() == (text == "one two"));
    CHECK(error.starts_with(error.empty() ? "" : "here: its lines end with carriage returns"));
    std::fclose(file);
  }
}

TEST_CASE("a stream that does not wait is waited for") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_NONBLOCK) == 0);
  Lines lines = Lines::of_stream(ends[0], "here");
  std::atomic<bool> reads = false;
  std::jthread other([&] {
    while (!reads) std::this_thread::yield();
    for (const char* part : {"on", "e\ntwo"}) {
      CHECK(::write(ends[1], part, std::strlen(part)) > 0);
      for (int unread = 1; unread > 0; std::this_thread::yield())  // then it reads again, in vain
        REQUIRE(::ioctl(ends[0], FIONREAD, &unread) == 0);
    }
    ::close(ends[1]);
  });
  reads = true;
  CHECK(lines.next());
  CHECK(lines.line() == "one");
  CHECK(lines.next());
  CHECK(lines.line() == "two");
  CHECK_FALSE(lines.next());
  other.join();
  ::close(ends[0]);
}

TEST_CASE("a text for a message is one line of what can be seen") {
  CHECK(shown("a\tb\nc\r\x01\x7F") == "a\tb\\nc\\r\\x01\\x7f");
  CHECK(shown("caf\xE9 caf\u00E9") == "caf\uFFFD caf\u00E9");
  CHECK(shown("abcdef", 3) == "abc\u2026");
  CHECK(shown("\u4E2D\u6587\u4E2D", 4) == "\u4E2D\u6587\u2026");
}

TEST_CASE(
    "a terminal is shown what it would obey: controls, and marks of the writing's direction") {
  CHECK(visible("a\tb\n\x1B[2J\r\x7F\u009B") == "a\tb\n\\x1b[2J\\x0d\\x7f\\x9b");
  CHECK(visible("\u061C\u200E\u200F\u202A\u202E\u2066\u2069") ==
        "\\u061c\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069");
  CHECK(visible("\u00A0\u2010\u202F\u2065\u206A caf\xE9") ==
        "\u00A0\u2010\u202F\u2065\u206A caf\uFFFD");
  CHECK(shown("\u202E") == "\\u202e");
}

TEST_CASE(
    "a file whose line has no end to be hoped for is refused, also where bad rows are skipped") {
  const test::Folder folder;
  const std::string path = folder.write("x.tsv", "label\ttext\n0\ta\n");
  std::filesystem::resize_file(
      path, (std::size_t{1} << 28) + (4 << 20));  // NULs, of which the disk keeps none
  CHECK(test::error_of([&] { read_rows(path, {.skip_bad_rows = true}); }) ==
        path + ":3: the line has more than 268435456 bytes; does it end at all?");
}

TEST_CASE("a file that is no text is refused as what it is, whatever its name") {
  const test::Folder folder;
  const std::string binary("\x14\0\x99", 3);
  for (const auto& [bytes, what] :
       {std::pair{std::string("\x1f\x8b\x08"), "is compressed by gzip; unpack it first: gzip -dc"},
        {"\xFD"
         "7zXZ",
         "is compressed by xz; unpack it first: xz -dc"},
        {"BZh91AY&SY", "is compressed by bzip2; unpack it first: bzip2 -dc"},
        {"\x28\xB5\x2F\xFD", "is compressed by zstd; unpack it first: zstd -dc"},
        {"PK\x03\x04", "is an Excel (or other zip) file; save it as CSV (UTF-8)"},
        {"PK\x03\x04\n", "is an Excel (or other zip) file; save it as CSV (UTF-8)"},
        {"\xD0\xCF\x11\xE0", "is an Excel (or other Office) file; save it as CSV (UTF-8)"},
        {"PAR1", "is a Parquet file; write it as CSV or JSON lines"},
        {"\xFE\xFF", "is in UTF-16"},
        {std::string("\xFF\xFEl\0", 4), "is in UTF-16"},
        {std::string("\xFF\xFE\0\0", 4), "is in UTF-32; convert it: iconv -f UTF-32 -t UTF-8"},
        {std::string("\0\0\xFE\xFF", 4), "is in UTF-32; convert it: iconv -f UTF-32 -t UTF-8"}})
    for (const char* name : {"x.csv", "x.tsv", "x.jsonl", "x"})
      for (const std::string& more : {binary, binary + "\n", std::string(2 << 20, '\1')}) {
        const std::string path = folder.write(name, bytes + more);
        CHECK(test::error_of([&] { load_dataset(path, 1); }).starts_with(path + ": " + what));
        std::FILE* file = std::fopen(path.c_str(), "rb");
        Lines lines = Lines::of_stream(::fileno(file), "here");
        CHECK(test::error_of([&] { lines.next(); }).starts_with(std::string("here: ") + what));
        std::fclose(file);
      }
  // Without a byte order mark, where NUL bytes stand tells.
  for (const auto& [text, encoding] : {std::pair{std::string("l\0a\0", 4), "UTF-16LE"},
                                       {std::string("\0\x4E,\0a\0\n\0", 8), "UTF-16LE"},
                                       {std::string("\0l\0a", 4), "UTF-16BE"},
                                       {std::string("l\0\0\0a\0\0\0", 8), "UTF-32LE"},
                                       {std::string("\0\0\0l\0\0\0a", 8), "UTF-32BE"}}) {
    Lines lines(text, "x");
    CHECK(test::error_of([&] { lines.next(); }) ==
          fmt::format("x: begins with a NUL byte, as no text in UTF-8 does; where it is in {0}, "
                      "convert it: iconv -f {0} -t UTF-8 FILE > NEW",
                      encoding));
  }
  for (const char* text : {"PAR1 is a lamp\n", "BZh \xC3\xA4\ttab\r\n", "PK\n"}) {
    Lines lines(text, "x");
    CHECK(lines.next());
  }
}

}  // namespace minima
