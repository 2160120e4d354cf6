/// The lines of a file, one at a time: memory holds one of them, however large the file is.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

/// The longest line, and the longest row of several lines, in bytes: a longer one is a sign of
/// another format.
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

/// What is wrong with one row: a reader may skip it and go on.
class BadRow : public Error {
 public:
  using Error::Error;
};

/// Throws a BadRow, "SOURCE:LINE: …", with a message in fmt's format.
template <class... Args>
[[noreturn]] void bad_row(const std::string& source, i64 line, fmt::format_string<Args...> format,
                          Args&&... args) {
  throw BadRow(
      fmt::format("{}:{}: {}", source, line, fmt::format(format, std::forward<Args>(args)...)));
}

/// The parts of `text` between separators; one more than there are separators.
std::vector<std::string> split(std::string_view text, char separator);

/// UTF-8; a byte order mark is left out; a line ends with LF or CRLF.
///
///     Lines lines("texts.txt");
///     while (lines.next()) use(lines.line());
class Lines {
 public:
  /// Throws Error when the file cannot be opened.
  explicit Lines(const std::filesystem::path& path);
  /// Text at hand, which must outlive this; `source` names it in messages.
  Lines(std::string_view text, std::string source);

  /// Moves to the next line; false at the end. Throws BadRow for one that is over-long or not
  /// UTF-8, and stands behind it then; Error (run time) when the file cannot be read.
  bool next();
  std::string_view line() const { return line_; }  ///< without its end; valid until next()
  std::string_view end() const { return end_; }    ///< "\n", "\r\n", or "" at the file's end
  i64 number() const { return number_; }           ///< of the line, from 1
  const std::string& source() const { return source_; }

 private:
  bool refill();

  std::string source_;
  std::ifstream file_;
  std::string buffer_;
  std::string_view rest_;  // read and not yet handed out
  std::string_view line_, end_;
  i64 number_ = 0;
};

}  // namespace minima
