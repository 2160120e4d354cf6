/// Tab-separated labelled texts: a header `label<TAB>text`, then one example per line.
///
/// Fields are raw: no quoting, no escapes. UTF-8, with or without a byte order mark; lines end with
/// LF or CRLF.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/readers/row.hpp"

namespace minima {

/// The longest line that a reader takes, in bytes: a longer one is a sign of another format.
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

/// The rows of a file. Throws Error, with file, line and reason, for a file that is missing, empty
/// or without rows, another header, a row without a tab or with two, a row without a label, an
/// over-long line, or invalid UTF-8.
std::vector<Row> read_tsv(const std::filesystem::path& path);

/// The same for text at hand; `source` names it in messages.
std::vector<Row> parse_tsv(std::string_view text, const std::string& source);

}  // namespace minima
