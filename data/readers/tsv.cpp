#include "data/readers/tsv.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/file.hpp"
#include "data/utf8.hpp"

namespace minima {
namespace {

/// The beginning of a line for a message, cut between characters.
std::string_view beginning(std::string_view line) {
  std::size_t end = std::min<std::size_t>(line.size(), 80);
  while (end < line.size() && (line[end] & 0xC0) == 0x80) --end;
  return line.substr(0, end);
}

}  // namespace

std::vector<Row> read_tsv(const std::filesystem::path& path) {
  return parse_tsv(read_file(path), path.string());
}

std::vector<Row> parse_tsv(std::string_view text, const std::string& source) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF", kHeader = "label\ttext";
  check(!text.empty(), "{}: is empty; expected the header 'label<TAB>text' and one row per line",
        source);
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());

  std::vector<Row> rows;
  i64 number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);

    check(line.size() <= kMaxLineBytes,
          "{}:{}: the line has {} bytes, more than {}; is this a tab-separated file?", source,
          number, line.size(), kMaxLineBytes);
    if (const std::size_t at = find_invalid_utf8(line); at != line.npos)
      fail("{}:{}: byte {} of the line, 0x{:02X}, is not valid UTF-8; convert the file to UTF-8",
           source, number, at + 1, static_cast<u8>(line[at]));
    if (number == 1) {
      check(line == kHeader, "{}:1: the header is '{}'; expected 'label<TAB>text'", source,
            beginning(line));
      continue;
    }
    const std::size_t tab = line.find('\t');
    check(tab != line.npos, "{}:{}: the row has no tab; expected 'label<TAB>text', found '{}'",
          source, number, beginning(line));
    check(tab > 0, "{}:{}: the row has no label", source, number);
    check(line.find('\t', tab + 1) == line.npos,
          "{}:{}: the row has more than one tab; a text holds none", source, number);
    rows.push_back({std::string(line.substr(0, tab)), std::string(line.substr(tab + 1)), number});
  }
  check(!rows.empty(), "{}: has a header but no rows", source);
  return rows;
}

}  // namespace minima
