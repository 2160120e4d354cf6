/// A folder of files that a test writes, gone when the test ends.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.hpp"
#include "tests/support.hpp"

namespace minima::test {

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "minima-XXXXXX").string();
    if (!mkdtemp(name.data())) fail_at_run_time("no temporary folder could be made: {}", name);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `f` throws; empty when it throws none.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// Whose fault it is, by the Error that `f` throws.
template <class F>
Fault fault_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.fault;
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace minima::test
