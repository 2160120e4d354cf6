#include "data/readers/reader.hpp"

#include <cctype>
#include <set>

#include "core/files/file.hpp"
#include "core/text/utf8.hpp"
#include "data/readers/jsonl.hpp"
#include "data/readers/notes.hpp"
#include "data/readers/table.hpp"

namespace minima {
namespace {

char delimiter_of(const ReadOptions& options, Format format, const std::string& source) {
  const std::string& given = options.delimiter;
  check(given.empty() || format != Format::jsonl,
        "{}: is JSON Lines, without fields that --delimiter '{}' could part", source, shown(given));
  if (given == "tab" || given == "\\t") return '\t';
  if (given.empty()) return ',';
  const auto c = static_cast<unsigned char>(given[0]);
  check(given.size() == 1 && c < 128 &&
            (std::isspace(c) ? c == ' ' || c == '\t' : std::ispunct(c)) && c != '"',
        "--delimiter is '{}'; it must be a punctuation character (ASCII, no quote), a blank, or "
        "tab",
        shown(given));
  return given[0];
}

std::unique_ptr<RowReader> open(Lines lines, Format format, const ReadOptions& options) {
  const char delimiter = delimiter_of(options, format, lines.source());
  if (format == Format::jsonl) return std::make_unique<JsonLinesReader>(std::move(lines), options);
  if (format == Format::csv || !options.delimiter.empty())
    return std::make_unique<CsvReader>(std::move(lines), options, delimiter);
  return std::make_unique<TsvReader>(std::move(lines), options);
}

}  // namespace

std::vector<Row> all_rows(RowReader& reader) {
  std::vector<Row> rows;
  for (Row row; reader.next(row);) rows.push_back(std::move(row));
  return rows;
}

bool RowReader::next(Row& row) {
  for (;;) try {
      if (!read(row)) {
        check(rows_ > 0 || skipped_ == 0, "{}: has nothing but {}; the first: {}", source_,
              counted(skipped_, "bad row"), first_bad_);
        check(rows_ > 0, "{}: has no rows", source_);
        return false;
      }
      if (row.label.find_first_of("\t\r\n") != row.label.npos)
        bad_row(source_, row.line, "the label '{}' holds a tab or a line's end", shown(row.label));
      ++rows_;
      return true;
    } catch (const BadRow& bad) {
      if (!options_.skip_bad_rows)
        throw BadRow(fmt::format("{}; --skip-bad-rows leaves such rows out", bad.what()));
      if (skipped_++ == 0) first_bad_ = bad.what();
    }
}

std::string RowReader::expected() const {
  return options_.label_column.empty()
             ? fmt::format("'{}'", options_.text_column)
             : fmt::format("'{}' and '{}'", options_.label_column, options_.text_column);
}

void RowReader::check_apart(const std::string& label, const std::vector<std::string>& text,
                            const std::vector<std::string>& pair) const {
  const auto both = [&](const std::string& column, const char* one, const char* other) {
    fail(
        "{}: column '{}' is both {} and {}; name another with --text-column, --label-column or "
        "--pair-column",
        source_, shown(column), one, other);
  };
  const std::set<std::string_view> texts(text.begin(), text.end());
  if (texts.contains(label)) both(label, "the label", "a text, and tells the answer");
  for (const std::string& column : pair) {
    if (column == label) both(column, "the label", "a second text, and tells the answer");
    if (texts.contains(column)) both(column, "the text", "the second text");
  }
  for (const auto* columns : {&text, &pair}) {
    std::set<std::string_view> seen;
    for (const std::string& column : *columns)
      check(seen.insert(column).second, "{}: column '{}' is named twice for one text", source_,
            shown(column));
  }
}

Format format_of(const std::filesystem::path& path) {
  const std::string name = ending(path);
  if (name == ".csv") return Format::csv;
  return name == ".jsonl" || name == ".ndjson" ? Format::jsonl : Format::tsv;
}

std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path,
                                     const ReadOptions& options) {
  check(ending(path) != ".json",
        "{}: .json is one document, not rows; a file with a JSON object a line is named .jsonl (of "
        "an array: {})",
        path.string(), kLinesOfArray);
  return open(Lines(path), format_of(path), options);
}
std::unique_ptr<RowReader> open_rows(std::string_view text, Format format,
                                     const std::string& source, const ReadOptions& options) {
  return open(Lines(text, source), format, options);
}

std::vector<Row> read_rows(const std::filesystem::path& path, const ReadOptions& options) {
  return all_rows(*open_rows(path, options));
}
std::vector<Row> parse_rows(std::string_view text, Format format, const std::string& source,
                            const ReadOptions& options) {
  return all_rows(*open_rows(text, format, source, options));
}

}  // namespace minima
