/// What the three targets of labelled rows share.
#pragma once

#include "data/readers/reader.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace minima {

/// Reads `input` twice, with and without --skip-bad-rows. What is read without is read with it too,
/// and every row is what the rest of the program counts on.
inline void fuzz_rows(std::string_view input, Format format) {
  ReadOptions options;
  options.skip_bad_rows = true;
  const auto skipping = open_rows(input, format, "x", options);
  std::vector<Row> rows;
  i64 line = 0;
  for (Row row; skipping->next(row);) {
    require(row.line > line, "rows follow one another");
    line = row.line;
    require(!row.label.empty(), "a row has a label");
    require(row.label.find_first_of("\t\r\n") == std::string::npos, "a label is one word");
    require(find_invalid_utf8(row.label + row.text) == std::string::npos, "a row is UTF-8");
    rows.push_back(row);
  }
  const std::vector<Row> strict = parse_rows(input, format, "x");  // refuses the first bad one
  require(skipping->skipped() == 0, "what is refused is skipped");
  require(strict.size() == rows.size(), "the same rows");
  for (std::size_t i = 0; i < rows.size(); ++i)
    require(strict[i].text == rows[i].text && strict[i].label == rows[i].label, "the same row");
}

}  // namespace minima
