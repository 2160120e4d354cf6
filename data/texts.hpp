/// Texts without labels, for a language model to learn from.
#pragma once

#include <string>
#include <string_view>

#include "data/dataset.hpp"
#include "data/readers/lines.hpp"

namespace minima {

/// Loads the texts that `spec` names, a pair as two:
///
///   builtin, debian   as load_dataset
///   a folder          its train and, where it has one, its dev, each a file as below
///   a file            plain text, a text a line, where its name ends in .txt (and no delimiter says that it is a table)
///                     or read.plain_text says so; else the texts of its rows
///
/// Where there is no dev, 5 texts in a hundred, at most 2,000, are drawn for it by `seed`; none of them,
/// ignoring case and punctuation, is then among those to train on.
///
/// Throws Error, naming file and line, for what breaks a rule of its format, for options that do not
/// concern it, and for a file without two different texts.
Dataset load_texts(const std::string& spec, u64 seed, ReadOptions read = {});

/// Whether a line is a table's header: columns, one of them of that name.
bool is_header(std::string_view line, char delimiter, const std::string& column);
/// Whether a file is plain text, a text a line.
bool is_plain_text(const std::filesystem::path& path, const ReadOptions& read);
/// Its lines. Throws Error for options that are for tables, and for a first line that is a table's header (to `train`
/// such a file is one), unless read.plain_text says what it is.
Lines open_plain_text(const std::filesystem::path& path, const ReadOptions& read);
/// The rows of another file, whose labels, where it has some, are not read. Throws Error as open_rows does.
std::unique_ptr<RowReader> open_unlabelled_rows(const std::filesystem::path& path,
                                                ReadOptions read);

}  // namespace minima
