/// A fuzz target is a file of this folder that includes this header and defines `fuzz`; CMake finds it. Its seeds, small
/// ones, lie in seeds/<name>/. The input may be refused with a minima::Error whose message is one line of UTF-8; every
/// other way out is a find: another exception, a sanitizer's report, or `require`, for what must hold of what was read.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "core/error.hpp"
#include "core/text/utf8.hpp"

namespace minima {

void fuzz(std::string_view input);

/// Stops the fuzzer, with the input kept, unless `ok`.
inline void require(bool ok, const char* what) {
  if (ok) return;
  fmt::print(stderr, "does not hold: {}\n", what);
  std::abort();
}

/// A new folder for what must lie in files: in memory, where flushing one costs nothing. Gone at the program's end.
class ScratchFolder {
 public:
  ScratchFolder()
      : name_(std::filesystem::exists("/dev/shm") ? "/dev/shm/minima-fuzz-XXXXXX"
                                                  : "/tmp/minima-fuzz-XXXXXX") {
    require(mkdtemp(name_.data()) != nullptr, "a folder can be made");
  }
  ~ScratchFolder() { std::filesystem::remove_all(name_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path operator/(const char* file) const {
    return std::filesystem::path(name_) / file;
  }

 private:
  std::string name_;
};

}  // namespace minima

/// What libFuzzer calls.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  try {
    minima::fuzz({reinterpret_cast<const char*>(bytes), count});
  } catch (const minima::Error& error) {
    const std::string_view message = error.what();
    minima::require(!message.empty() && message.find('\n') == message.npos,
                    "a message is one line");
    minima::require(minima::find_invalid_utf8(message) == message.npos, "a message is UTF-8");
  }
  return 0;
}
