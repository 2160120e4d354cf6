/// The program as a user calls it: a folder to work in, and what a command answered.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/files/json.hpp"
#include "core/types.hpp"

namespace minima::test {

struct Answer {
  int code;
  std::string out, err;
};

class Shell {
 public:
  Shell();
  ~Shell();
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  /// Runs `minima ARGUMENTS` in the folder, with `input` on standard input and, where given, a variable of the
  /// environment set.
  Answer minima(const std::string& arguments, const std::string& input = "",
                const std::string& setting = "") const;
  void write(const std::string& name, const std::string& bytes) const;
  bool exists(const std::string& name) const { return std::filesystem::exists(folder / name); }

  const std::filesystem::path folder;
  const std::string program;  ///< its path
};

/// What a command that succeeds prints, which is one JSON document.
Json json_of(const Shell& shell, const std::string& arguments);

/// Refused: exit code 2, one line that holds all of `words`, nothing on standard output, no folder "run".
void check_refused(const Shell& shell, const std::string& arguments,
                   const std::vector<std::string>& words, const std::string& out = " --out run");

/// A model of which an epoch takes a second, and a training of that.
inline constexpr const char* kTinyModel =
    " --model tiny --dim 16 --hidden 16 --max-length 16 --threads 1";
inline const std::string kTiny = std::string(kTinyModel) + " --epochs 1";

}  // namespace minima::test
