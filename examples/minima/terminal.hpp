/// What the program tells people, on a terminal or wherever they send it: control characters in data (labels, names,
/// files of others) are shown there, and never obeyed. What machines read is printed as it is, without these.
#pragma once

#include <fmt/format.h>

#include "core/text/utf8.hpp"

namespace minima {

/// Where standard input, output or error is closed: no file that is opened later takes its number, and gets what is meant
/// for it. Reading and writing there fail as before.
void hold_closed_streams();

/// Writes to standard error, as it is. What cannot be written there, to a full disk, a closed stream, a pipe without a
/// reader, is lost: nobody's work ends for a line about it.
void write_to_standard_error(const std::string& text);

/// An answer that people and machines read: visible where standard output is a terminal, else as it is.
std::string for_output(std::string text);

/// Hands over what was printed on standard output. Throws Error (run time) where that cannot be written.
void flush_output();

/// A note, a warning, how work goes on, on standard error.
template <class... Args>
void print_note(fmt::format_string<Args...> format, Args&&... args) {
  write_to_standard_error(visible(fmt::format(format, std::forward<Args>(args)...)));
}

/// A table, a sentence, on standard output; throws where that cannot be written, as fmt::print does.
template <class... Args>
void print_text(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{}", visible(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace minima
