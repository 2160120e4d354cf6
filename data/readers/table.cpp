#include "data/readers/table.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/text/nearest.hpp"
#include "core/text/split.hpp"
#include "core/text/utf8.hpp"
#include "data/counted.hpp"
#include "data/whole_number.hpp"

namespace minima {
namespace {

std::string joined(const std::vector<std::string>& fields, const std::vector<std::size_t>& which) {
  std::string text;
  for (std::size_t i = 0; i < which.size(); ++i) {
    if (i > 0) text += ' ';
    text += fields[which[i]];
  }
  return text;
}

/// The way out of a TSV whose fields are not raw.
constexpr const char* kQuoted = "; where fields stand in quotes, say --delimiter tab";

/// Whether a field stands in quotes by the rules of CSV, and has a quote within it.
bool is_quoted(std::string_view field) {
  if (field.size() < 4 || !field.starts_with('"') || !field.ends_with('"')) return false;
  field = field.substr(1, field.size() - 2);
  std::size_t quote = field.find('"');
  if (quote == field.npos) return false;
  for (; quote != field.npos; quote = field.find('"', quote + 2))
    if (field.substr(quote, 2) != "\"\"") return false;
  return true;
}

/// What separates fields, for messages: "commas".
std::string plural(char separator) {
  switch (separator) {
    case ',':
      return "commas";
    case '\t':
      return "tabs";
    case ';':
      return "semicolons";
    case '|':
      return "bars";
    case ' ':
      return "blanks";
    default:
      return fmt::format("'{}'", separator);
  }
}

}  // namespace

void TableReader::begin() {
  check(next_fields(), "{}: is empty; expected a header, {}, and one row after another", source_,
        expected());
  labelled_ = !options_.label_column.empty();
  row_has_names_ = options_.no_header && has_names(fields_);
  if (!options_.no_header && is_row(fields_) && !(labelled_ && has_names(fields_)))
    options_.no_header = true;
  header_ = fields_;
  has_row_ = options_.no_header;
  const ReadOptions usual;
  const bool by_place =
      options_.no_header && (!labelled_ || options_.label_column == usual.label_column);
  if (!by_place && labelled_) label_ = index_of(options_.label_column, "label-column");
  if (!options_.pair_column.empty()) pair_ = indices_of(options_.pair_column, "pair-column");
  if (options_.no_header && options_.text_column == usual.text_column) {
    Indices others = pair_;
    if (labelled_ || header_.size() > 1) others.push_back(label_);
    text_ = all_but(others);
    check(!text_.empty(), "{}:1: the row has no column for the text beside that of the label",
          source_);
  } else {
    text_ = indices_of(options_.text_column, "text-column");
  }
  check_apart(labelled_ ? name_of(label_) : "", names_of(text_), names_of(pair_));
}

std::string TableReader::name_of(std::size_t index) const {
  return options_.no_header ? std::to_string(index + 1) : header_[index];
}

std::vector<std::string> TableReader::names_of(const Indices& indices) const {
  std::vector<std::string> names;
  for (const std::size_t index : indices) names.push_back(name_of(index));
  return names;
}

bool TableReader::has_names(const std::vector<std::string>& fields) const {
  const auto is_name = [&](const std::string& column) {
    return !whole_number(column) && std::ranges::find(fields, column) != fields.end();
  };
  return (!labelled_ || is_name(options_.label_column)) &&
         std::ranges::all_of(split(options_.text_column, ','), is_name);
}

std::size_t TableReader::index_of(const std::string& column, const char* option) const {
  if (options_.no_header) {
    const std::optional<i64> number = whole_number(column);
    check(number && *number >= 1 && *number <= std::ssize(header_),
          "{}:1: there is no header, and no column '{}'; give --{} a number from 1 to {}", source_,
          shown(column), option, header_.size());
    return static_cast<std::size_t>(*number - 1);
  }
  const auto found = std::ranges::find(header_, column);
  check(found != header_.end(),
        "{}:1: the header is '{}', without the column '{}'{} Name the columns with {}", source_,
        shown(lines_.row()), shown(column), hint(column),
        labelled_
            ? "--label-column and --text-column, or say --no-header where that is a row"
            : "--text-column, or say --no-header where that is a row, --plain-text where each "
              "line is a text");
  check(std::find(found + 1, header_.end(), column) == header_.end(),
        "{}:1: the header has the column '{}' twice", source_, shown(column));
  return static_cast<std::size_t>(found - header_.begin());
}

std::string TableReader::hint(const std::string& column) const {
  if (whole_number(column)) return " (numbers count columns under --no-header alone).";
  if (lines_.row().starts_with("sep="))
    return " (it is a spreadsheet's word on what separates fields: leave that line out).";
  if (!has_quotes() && std::ranges::count(header_, fmt::format("\"{}\"", column)) > 0)
    return fmt::format("{}.", kQuoted);
  const auto parts_with = [&](char separator) {
    const std::vector<std::string> parts = split(header_[0], separator);
    return header_.size() == 1 && parts.size() > 1 && !meant_by(column, parts).empty();
  };
  for (const auto& [separator, way_out] :
       {std::pair{'\t', "name the file .tsv, or say --delimiter tab where fields are quoted"},
        {',', "name the file .csv, or say --delimiter ,"},
        {';', "say --delimiter ';'"},
        {'|', "say --delimiter '|'"}})
    if (separator != delimiter_ && parts_with(separator))
      return fmt::format(" (there are {}, and {} are expected between fields: {}).",
                         plural(separator), plural(delimiter_),
                         options_.delimiter.empty() ? way_out : "--delimiter holds for all files");
  return did_you_mean(column, header_);
}

TableReader::Indices TableReader::indices_of(const std::string& columns, const char* option) const {
  Indices result;
  if (std::ranges::count(header_, columns) == 1) return {index_of(columns, option)};
  for (const std::string& column : split(columns, ',')) result.push_back(index_of(column, option));
  return result;
}

TableReader::Indices TableReader::all_but(const Indices& others) const {
  Indices result;
  for (std::size_t i = 0; i < header_.size(); ++i)
    if (std::ranges::find(others, i) == others.end()) result.push_back(i);
  return result;
}

std::string TableReader::note() const {
  if (!options_.no_header) return {};
  return fmt::format("no header: {}the text is column {}{}{}",
                     labelled_ ? fmt::format("the label is column {}, ", label_ + 1) : "",
                     listed(names_of(text_)), pair_.empty() ? "" : ", the second text ",
                     listed(names_of(pair_))) +
         (row_has_names_ ? "; but the first row has the names of columns: is it a header?" : "");
}

bool TableReader::next_fields() {
  constexpr std::string_view kBlanks = " ";  // a tab separates fields
  if (std::exchange(open_ended_, false)) lines_.leave_row();
  while (lines_.next()) {
    row_line_ = lines_.number();
    const bool blank = lines_.line().find_first_not_of(kBlanks) == std::string_view::npos;
    if (!blank || row_line_ == 1) {
      open_ended_ = true;
      read_fields(fields_);
      open_ended_ = false;
      return true;
    }
    if (lines_.at_blank_end(kBlanks)) return false;
    if (header_.size() > 1) bad_row(source_, row_line_, "the line is blank, and others follow");
  }
  return false;
}

bool TableReader::read(Row& row) {
  if (!has_row_ && !next_fields()) return false;
  has_row_ = false;
  if (fields_.size() != header_.size())
    bad_row(source_, row_line_, "the row has {}, the {} {}: '{}'{}",
            counted(fields_.size(), "field"), options_.no_header ? "first" : "header",
            header_.size(), shown(lines_.row()),
            !has_quotes() ? (lines_.row().find('"') == std::string_view::npos ? "" : kQuoted)
            : fields_.size() > header_.size()
                ? fmt::format("; a field with {} in it stands in quotes", plural(delimiter_))
                : "");
  if (labelled_ && fields_[label_].empty()) bad_row(source_, row_line_, "the row has no label");
  row = {labelled_ ? fields_[label_] : "", joined(fields_, text_), row_line_,
         joined(fields_, pair_)};
  return true;
}

void TsvReader::read_fields(std::vector<std::string>& fields) {
  fields = split(lines_.line(), delimiter_);
  if (std::ranges::any_of(fields, is_quoted) && quoted_++ == 0) first_quoted_ = lines_.number();
}

std::string TsvReader::note() const {
  std::string note = TableReader::note();
  if (quoted_ > 0)
    note += fmt::format(
        "{}{} a field with doubled quotes in quotes, the first in line {}: they are taken as they "
        "stand{}",
        note.empty() ? "" : "; ", quoted_ == 1 ? "a row has" : fmt::format("{} rows have", quoted_),
        first_quoted_, kQuoted);
  return note;
}

bool CsvReader::is_row(const std::vector<std::string>& fields) const {
  return fields.size() > 1 && whole_number(fields.front()).has_value();
}

void CsvReader::read_fields(std::vector<std::string>& fields) {
  fields.clear();
  for (std::size_t at = 0;; ++at) {  // behind a delimiter
    std::string& field = fields.emplace_back();
    at = at < lines_.line().size() && lines_.line()[at] == '"' ? read_quoted(at + 1, field)
                                                               : read_plain(at, field);
    if (at == lines_.line().size()) return;
  }
}

/// Reads a field from behind its opening quote; returns where it ends, a delimiter or the line's end.
std::size_t CsvReader::read_quoted(std::size_t at, std::string& field) {
  const i64 opened = lines_.number();
  for (;;) {
    const std::string_view line = lines_.line();
    const std::size_t quote = line.find('"', at);
    field += line.substr(at, quote - at);
    if (quote == line.npos) {
      field += lines_.end();
      if (lines_.row().size() > kMaxLineBytes)
        bad_row(source_, opened,
                "the row has more than {} bytes; is the quote closed that opens field '{}'?",
                kMaxLineBytes, shown(field));
      if (!lines_.next_of_row())
        bad_row(source_, opened, "the quote that opens field '{}' is not closed", shown(field));
      at = 0;
    } else if (quote + 1 < line.size() && line[quote + 1] == '"') {
      field += '"';
      at = quote + 2;
    } else {
      if (quote + 1 < line.size() && line[quote + 1] != delimiter_)
        bad_row(
            source_, opened,
            "behind a closing quote{} stands '{}', not a {}; a quote within a field is "
            "written twice",
            lines_.number() == opened ? "" : fmt::format(" in line {}", lines_.number()),
            shown(line.substr(quote + 1)),
            delimiter_ == ',' ? "comma" : fmt::format("'{}'", shown(std::string(1, delimiter_))));
      return quote + 1;
    }
  }
}

/// Reads a field without quotes; returns where it ends.
std::size_t CsvReader::read_plain(std::size_t at, std::string& field) {
  const std::string_view line = lines_.line();
  const std::size_t end = std::min(line.find(delimiter_, at), line.size());
  field = line.substr(at, end - at);
  if (field.find('"') != field.npos)
    bad_row(source_, lines_.number(),
            "a quote in field '{}', which does not begin with one; such a field stands in quotes",
            shown(field));
  if (field.find('\r') != field.npos)
    bad_row(source_, lines_.number(),
            "a carriage return in field '{}', which does not stand in quotes; where it ends a row, "
            "write a line feed: tr '\\r' '\\n' < FILE > NEW",
            shown(field));
  return end;
}

}  // namespace minima
