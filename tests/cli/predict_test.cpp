/// minima predict.
#include <fmt/ranges.h>

#include <sstream>

#include "core/file.hpp"
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("predict answers a line as soon as it is typed, and keeps the order of many") {
  const Shell shell;
  REQUIRE(shell.minima(std::string("train --out run") + kTiny).code == 0);
  const std::string talk = fmt::format(
      "cd '{}' && mkfifo asked answered && timeout 100 bash -c \"'{}' predict run/final < asked > "
      "answered & "
      "exec 3> asked 4< answered; for text in 'where is my parcel' 'the app crashes'; do "
      "echo \\$text >&3; read -r answer <&4; echo \\$answer; done; exec 3>&-; wait\" > said",
      shell.folder.string(), shell.program);
  REQUIRE(std::system(talk.c_str()) == 0);
  const std::string said = read_file(shell.folder / "said");
  CHECK(std::ranges::count(said, '\n') == 2);

  std::vector<std::string> lines;
  for (int i = 0; i < 700; ++i)
    lines.push_back(fmt::format("{} {}", i % 3 ? "my parcel is late" : "the app crashes", i));
  const auto joined = [](const std::vector<std::string>& all) {
    return fmt::format("{}\n", fmt::join(all, "\n"));
  };
  const std::string forward = shell.minima("predict run/final", joined(lines)).out;
  std::ranges::reverse(lines);
  const std::string backward = shell.minima("predict run/final", joined(lines)).out;
  std::vector<std::string> answers;
  for (std::istringstream stream(backward); std::getline(stream, answers.emplace_back());) {
  }
  answers.pop_back();
  std::ranges::reverse(answers);
  CHECK(answers.size() == 700);
  CHECK(joined(answers) == forward);
}

TEST_CASE("a file that is given to predict or tokenize is to be its standard input") {
  const Shell shell;
  shell.write("lines.txt", "my parcel is late\n");
  for (const std::string arguments :
       {"predict run/final lines.txt", "tokenize --vocab vocab.txt lines.txt"})
    check_refused(shell, arguments, {"lines.txt", "Lines come by standard input: < lines.txt"}, "");
}
