/// RowReader: the labelled texts of a file, one row at a time, so that a file may be larger than
/// memory.
///
///     for (const auto rows = open_rows("texts.csv", {}); rows->next(row);) use(row);
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/readers/row.hpp"

namespace minima {

/// Which columns of a table, or keys of JSON objects, are read, and what becomes of bad rows.
struct ReadOptions {
  std::string label_column = "label";  ///< empty: labels are not read
  /// Several are joined by a space: "title,description", unless there is one of this name.
  std::string text_column = "text";
  std::string pair_column = {};  ///< the second text of a pair; several as above
  /// Between a table's fields, by the rules of CSV whatever the file's name: one character, or "tab". Empty: what the
  /// name tells.
  std::string delimiter = {};
  /// The first row of a table is no header but a row. Columns are named by numbers from 1; unless
  /// others are given the label is the first, and the text all that is not the label or the pair.
  bool no_header = false;
  bool skip_bad_rows = false;  ///< count them and go on
  bool plain_text = false;     ///< of unlabelled texts: a text a line, whatever the file's name
  bool operator==(const ReadOptions&) const = default;
};

class RowReader {
 public:
  RowReader(std::string source, ReadOptions options)
      : options_(std::move(options)), source_(std::move(source)) {}
  virtual ~RowReader() = default;

  /// Reads the next row; false at the end. Throws Error "FILE:LINE: …" for a row that breaks a rule
  /// of its format, unless such are skipped, and at the end of a file without a (good) row.
  bool next(Row& row);

  /// What was found of the file's columns: "no header: column 1 is the label, …"; empty where a
  /// header names them.
  virtual std::string note() const { return {}; }
  i64 skipped() const { return skipped_; }  ///< bad rows so far
  const std::string& first_skipped() const {
    return first_bad_;
  }  ///< what was wrong with the first

 protected:
  /// Reads one row, or throws BadRow and stands behind it.
  virtual bool read(Row& row) = 0;
  /// "'label' and 'text'": the columns that are read, for messages.
  std::string expected() const;
  /// Throws Error for a column that is label and text at once, of which a model would read its
  /// answer, or both texts of a pair. `label` is empty where labels are not read.
  void check_apart(const std::string& label, const std::vector<std::string>& text,
                   const std::vector<std::string>& pair) const;
  ReadOptions options_;
  const std::string source_;  ///< names the file in messages

 private:
  i64 rows_ = 0, skipped_ = 0;
  std::string first_bad_;
};

enum class Format { tsv, csv, jsonl };

/// .csv is CSV, .jsonl and .ndjson are JSON Lines, everything else is TSV; capitals count as small.
Format format_of(const std::filesystem::path& path);

/// The rows of a file, in the format that its name tells. Throws Error when it cannot be opened, is
/// empty, named .json, or has not the columns asked for, and for a delimiter that is none.
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path,
                                     const ReadOptions& options = {});
/// The same for text at hand, which must outlive the reader; `source` names it in messages.
std::unique_ptr<RowReader> open_rows(std::string_view text, Format format,
                                     const std::string& source, const ReadOptions& options = {});

/// All rows of a file.
std::vector<Row> read_rows(const std::filesystem::path& path, const ReadOptions& options = {});
std::vector<Row> parse_rows(std::string_view text, Format format, const std::string& source,
                            const ReadOptions& options = {});

}  // namespace minima
