/// Lines of cells as a table of text.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/utf8.hpp"

namespace minima {

/// Lines of as many cells each, in columns two blanks apart. `sides` says of each column whether it is aligned at its left
/// or right, "lrr"; the last letter holds for all that follow. No line ends with blanks.
inline std::string in_columns(std::vector<std::vector<std::string>> lines, std::string_view sides) {
  std::vector<std::size_t> widths;
  for (std::vector<std::string>& line : lines) {
    widths.resize(line.size());
    for (std::size_t c = 0; c < line.size(); ++c) {
      line[c] = shown(line[c], std::string::npos);
      widths[c] = std::max(widths[c], columns_of(line[c]));
    }
  }
  std::string text;
  for (const std::vector<std::string>& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string pad(widths[c] - columns_of(line[c]), ' ');
      const bool left = sides[std::min(c, sides.size() - 1)] == 'l';
      text += (c ? "  " : "") + (left ? line[c] + pad : pad + line[c]);
    }
    text.erase(text.find_last_not_of(' ') + 1) += '\n';
  }
  return text;
}

}  // namespace minima
