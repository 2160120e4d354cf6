#include "tests/cli/shell.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/files/file.hpp"

namespace minima::test {

Shell::Shell()
    : folder(std::filesystem::temp_directory_path() / fmt::format("minima-cli-{}", ::getpid())),
      program(MINIMA_PROGRAM) {
  std::filesystem::create_directories(folder);
}

Shell::~Shell() { std::filesystem::remove_all(folder); }

Answer Shell::minima(const std::string& arguments, const std::string& input,
                     const std::string& setting) const {
  write("input", input);
  const std::string command = fmt::format("cd '{}' && {} '{}' {} < input > out 2> err",
                                          folder.string(), setting, program, arguments);
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), read_file(folder / "out"), read_file(folder / "err")};
}

void Shell::write(const std::string& name, const std::string& bytes) const {
  std::ofstream(folder / name, std::ios::binary) << bytes;
}

Json json_of(const Shell& shell, const std::string& arguments) {
  const Answer answer = shell.minima(arguments);
  CAPTURE(arguments);
  CAPTURE(answer.err);
  REQUIRE(answer.code == 0);
  return parse_json(answer.out, arguments);
}

void check_refused(const Shell& shell, const std::string& arguments,
                   const std::vector<std::string>& words, const std::string& out) {
  CAPTURE(arguments);
  const Answer answer = shell.minima(arguments + out);
  CAPTURE(answer.err);
  CHECK(answer.code == 2);
  CHECK(answer.out.empty());
  CHECK(std::ranges::count(answer.err, '\n') == 1);
  for (const std::string& word : words) {
    CAPTURE(word);
    CHECK(answer.err.find(word) != std::string::npos);
  }
  CHECK_FALSE(shell.exists("run"));
}

}  // namespace minima::test
