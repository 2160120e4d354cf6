/// Tables: a header that names the columns, then one row after another.
///
/// *TSV*: fields between tabs, one row a line. Fields are raw: no quoting, no escapes. A note tells of fields that look
/// quoted all the same.
///
/// *CSV* (RFC 4180): fields between commas, or what ReadOptions::delimiter says. A field that holds one, a quote or a
/// line's end stands in quotes, a quote within it is written twice; a backslash is a character like any other.
/// A file whose first field is a whole number has no header (AG News and its kin), as under
/// ReadOptions::no_header, unless its first row has both names that are asked for.
///
/// Blank lines at a file's end are passed over; between rows each is a bad row, unless texts are the only column.
/// Behind a bad row of several lines whose end is not known, as where a quote is not closed, reading goes on with the second
/// of them.
#pragma once

#include "data/readers/lines.hpp"
#include "data/readers/reader.hpp"

namespace minima {

/// What TSV and CSV share: which field of a row is what.
class TableReader : public RowReader {
 public:
  TableReader(Lines lines, const ReadOptions& options, char delimiter)
      : RowReader(lines.source(), options), lines_(std::move(lines)), delimiter_(delimiter) {}
  std::string note() const override;

 protected:
  /// Reads the fields of the row that begins in the present line. Throws BadRow.
  virtual void read_fields(std::vector<std::string>& fields) = 0;
  /// Whether a field may stand in quotes.
  virtual bool has_quotes() const { return false; }
  /// Whether fields that begin a file without a header show that.
  virtual bool is_row(const std::vector<std::string>&) const { return false; }
  bool read(Row& row) override;

  /// Reads the header; the first thing that a constructor of a derived class does. Throws Error for
  /// an empty file, one without the columns asked for, and a column that is label and text at once.
  void begin();

  Lines lines_;
  const char delimiter_;
  i64 row_line_ = 1;

 private:
  using Indices = std::vector<std::size_t>;
  /// Reads the next row, which begins in line `row_line_`; false at the end. Throws BadRow.
  bool next_fields();
  /// Why the header may lack a column: "; did you mean 'Label'?", " (there are semicolons …).", or ".".
  std::string hint(const std::string& column) const;
  /// Whether the columns of label and text are among them, by name.
  bool has_names(const std::vector<std::string>& fields) const;
  std::size_t index_of(const std::string& column, const char* option) const;
  Indices indices_of(const std::string& columns, const char* option) const;
  /// As an option names them: by the header, or by their number.
  std::string name_of(std::size_t index) const;
  std::vector<std::string> names_of(const Indices& indices) const;
  Indices all_but(const Indices& others) const;

  std::vector<std::string> header_, fields_;
  bool open_ended_ = false;  // the last row: what it has swallowed of other rows is read again
  bool has_row_ = false;     // the first row, read in search of a header
  bool row_has_names_ = false;
  bool labelled_ = true;
  std::size_t label_ = 0;
  Indices text_, pair_;
};

class TsvReader : public TableReader {
 public:
  TsvReader(Lines lines, const ReadOptions& options)
      : TableReader(std::move(lines), options, '\t') {
    begin();
  }
  std::string note() const override;

 protected:
  void read_fields(std::vector<std::string>& fields) override;

 private:
  i64 quoted_ = 0, first_quoted_ = 0;  // rows with fields that look so, and the line of the first
};

class CsvReader : public TableReader {
 public:
  CsvReader(Lines lines, const ReadOptions& options, char delimiter)
      : TableReader(std::move(lines), options, delimiter) {
    begin();
  }

 protected:
  void read_fields(std::vector<std::string>& fields) override;
  bool has_quotes() const override { return true; }
  bool is_row(const std::vector<std::string>& fields) const override;

 private:
  std::size_t read_quoted(std::size_t at, std::string& field);
  std::size_t read_plain(std::size_t at, std::string& field);
};

}  // namespace minima
