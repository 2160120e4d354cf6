/// A file read whole, and what a user should hear of it.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "data/counted.hpp"
#include "data/readers/reader.hpp"

namespace minima {

/// The rows that are left. Throws Error where there are none.
std::vector<Row> all_rows(RowReader& reader);

/// A line for columns that were guessed (RowReader::note), and one for bad rows that were skipped.
inline std::vector<std::string> notes(const RowReader& reader) {
  std::vector<std::string> lines;
  if (!reader.note().empty()) lines.push_back(reader.note());
  if (reader.skipped() > 0)
    lines.push_back(fmt::format("{} skipped; the first: {}", counted(reader.skipped(), "bad row"),
                                reader.first_skipped()));
  return lines;
}

}  // namespace minima
