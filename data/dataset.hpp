/// Dataset: labelled texts in three splits, and where they come from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/readers/reader.hpp"

namespace minima {

struct Example {
  std::string text;
  i64 label;              ///< index into Dataset::label_names
  std::string pair = {};  ///< the second text, where the data are pairs
};

struct Dataset {
  std::string name;
  std::string origin;  ///< a sentence for the user: what was read, and how it was split
  std::vector<std::string> label_names;
  std::vector<Example> train, dev, test;
};

/// Files of dev and test that lie apart from the training texts; empty: none does.
struct SplitFiles {
  std::string dev = {}, test = {};
  bool operator==(const SplitFiles&) const = default;
};

/// Loads what `spec` names:
///
///   builtin   the project's own texts
///   debian    this machine's package list: description → section. At most 60,000 packages, drawn
///             by `seed`; sections with fewer than 200 are left out, a description counts once.
///             Split as a file is.
///   a folder  with train, dev (or validation, valid, val) and test, each a file as below; of dev and test
///             what is not there is drawn from train, a tenth each, as a file is split
///   a file    .tsv, .csv or .jsonl (readers/table.hpp, readers/jsonl.hpp), split 80/10/10 by `seed`
///             with the labels in equal shares (stratified), all rows of a text in one split
///
/// `read` says which columns of files hold what, and what becomes of bad rows; `apart` which files stand in place of dev and
/// test, whatever a folder has or would be drawn.
///
/// A labels.txt beside the training texts may name the classes (classes.hpp); else they are the labels of the
/// training split.
///
/// Throws Error, naming file and line, for what a reader refuses, a label that is not in labels.txt
/// or that no training text has, training texts of one class only, and more labels than kMostLabels
/// (classes.hpp).
Dataset load_dataset(const std::string& spec, u64 seed, const ReadOptions& read = {},
                     const SplitFiles& apart = {});

/// Whether it names a source of texts of its own, which is no file or folder.
bool is_source(const std::string& spec);

/// Throws Error where there is no file or folder of this name.
void refuse_missing(const std::string& spec);

/// Whether texts have labels, or are what a language model learns from (texts.hpp).
enum class Texts { labelled, plain };

/// The file of a split, "train", "dev" or "test", in a folder, a .txt among plain ones; nothing where it
/// has none. Throws Error where it has two, and where it has none but a compressed one.
std::optional<std::filesystem::path> split_file(const std::filesystem::path& folder,
                                                const std::string& split,
                                                Texts texts = Texts::labelled);

/// The last name of a path, with a '/' at its end or without.
std::string folder_name(const std::filesystem::path& folder);

}  // namespace minima
