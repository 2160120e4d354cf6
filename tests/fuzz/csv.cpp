// Comma-separated rows: what is read, written by the rules of RFC 4180 and read again, is the same.
#include "tests/fuzz/rows.hpp"

void minima::fuzz(std::string_view input) {
  fuzz_rows(input, Format::csv);
  const std::vector<Row> rows = parse_rows(input, Format::csv, "x");
  const auto quoted = [](const std::string& field) {
    std::string result = "\"";
    for (const char c : field) result += c == '"' ? "\"\"" : std::string(1, c);
    return result + '"';
  };
  std::string written = "text,label\r\n";
  for (const Row& row : rows) written += quoted(row.text) + ',' + quoted(row.label) + "\r\n";
  const std::vector<Row> again = parse_rows(written, Format::csv, "y");
  require(again.size() == rows.size(), "as many rows");
  for (std::size_t i = 0; i < rows.size(); ++i)
    require(again[i].text == rows[i].text && again[i].label == rows[i].label, "the same rows");
}
