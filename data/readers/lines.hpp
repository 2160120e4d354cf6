/// The lines of a file, of text at hand, or of a stream, one at a time: memory holds one of them, or those of a row,
/// however many there are. All that reads text by lines reads it here.
#pragma once

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

/// The longest line, and the longest row of several lines, in bytes: a longer one is a sign of
/// another format.
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

/// What some programs put before text in UTF-8; no part of it.
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

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

/// A line ends with LF or CRLF; the last one, behind a line with CRLF, with CR too. Files and text at hand are UTF-8; a
/// byte order mark is left out.
///
///     Lines lines("texts.txt");
///     while (lines.next()) use(lines.line());
class Lines {
 public:
  /// Throws Error when the file cannot be opened.
  explicit Lines(const std::filesystem::path& path);
  /// Text at hand, which must outlive this; `source` names it in messages.
  Lines(std::string_view text, std::string source);
  /// What comes from a file descriptor, which stays open. Its lines are taken as they are, UTF-8 or
  /// not.
  static Lines of_stream(int descriptor, std::string source);

  /// Whether the first character that is no blank is this one. Asked before next().
  bool begins_with(char character);
  /// Without its end; empty where there is none. Asked before next(), until which it is valid.
  std::string_view first_line();
  /// Moves to the next line; false at the end. Throws BadRow for one of a file that is over-long or not UTF-8, and stands
  /// behind it then; Error for one of a stream that is over-long, and of a file of more than 2^28 bytes, for they
  /// may have no end, for what begins as no text does (compressed, a spreadsheet, UTF-16), for lines that end with CR
  /// alone, and (run time) when reading fails.
  bool next();
  /// The same for a line that goes on with the row that next() has begun. Such a row is kept, as it is written. Where it
  /// throws, leave_row() is to follow.
  bool next_of_row();
  std::string_view row() const {  ///< without its last line's end; valid until the next line
    return {rest_.data() - row_bytes_, row_bytes_ - end_.size()};
  }
  /// Back to the end of the line in which the row began, for one that has swallowed others. line() and row() are not valid
  /// any more.
  void leave_row();
  /// Whether all that is left, of a megabyte (2^20 bytes) at most, is of these characters and ends of lines: many programs
  /// end a file so. line() is not valid any more. Not asked of a stream.
  bool at_blank_end(std::string_view blanks);
  /// Whether next() will return without waiting for a stream: so a program may gather lines while
  /// there are some, and answer at once when a person types them. It waits for as long as `patience`, below a second,
  /// lasts: a program that writes to a pipe goes on some microseconds after there is room in it.
  bool ready(std::chrono::microseconds patience = {});
  std::string_view line() const { return line_; }  ///< without its end; valid until next()
  std::string_view end() const { return end_; }    ///< "\n", "\r\n"; "", "\r" at the file's end
  i64 number() const { return number_; }           ///< of the line, from 1
  const std::string& source() const { return source_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  bool refill();
  void begin();

  std::string source_;
  std::unique_ptr<std::FILE, Close> file_;
  int descriptor_ = -1;  // of the file or stream; none for text at hand
  bool is_stream_ = false, ended_ = false;
  bool crlf_ = false;  // the last line ended with it
  std::string buffer_;
  std::string_view rest_;  // read and not yet handed out; the row stands before it
  std::string_view line_, end_;
  i64 number_ = 0, first_number_ = 0;            // of the line, and of the row's first
  std::size_t row_bytes_ = 0, first_bytes_ = 0;  // of the row so far, and of its first line
  std::size_t taken_ = 0;                        // bytes handed out
  std::size_t text_at_ = 0;  // the least of them at which at_blank_end has found text
};

}  // namespace minima
