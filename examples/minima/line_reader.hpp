/// Lines of a stream as they come.
#pragma once

#include <optional>
#include <string>

namespace minima {

/// Reads a file descriptor line by line, and can tell whether the next line is there already: so a
/// program may gather lines while there are some, and answer at once when a person types them.
class LineReader {
 public:
  explicit LineReader(int descriptor) : descriptor_(descriptor) {}

  /// The next line without its end (LF or CRLF), none after the last; waits for it. Of a line of
  /// more than a megabyte the rest is dropped. Throws Error (run time) when reading fails.
  std::optional<std::string> next();
  /// Whether next() will return without waiting.
  bool ready();

 private:
  bool has_line();  ///< in the buffer, whole
  void fill();      ///< reads what is there, waits where nothing is

  int descriptor_;
  std::string buffer_;
  std::size_t begin_ = 0;    ///< of the next line
  std::size_t scanned_ = 0;  ///< no end of a line before it
  bool ended_ = false, dropping_ = false;
};

}  // namespace minima
