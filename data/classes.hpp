/// Classes: which class a label means.
///
/// Labels are names or numbers. A file labels.txt names the classes, line k (from 0) the class k, and
/// then a label is a name or, where no name is a number itself, the number of a line. Without it the
/// labels themselves are the classes.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/readers/lines.hpp"
#include "data/readers/row.hpp"

namespace minima {

/// Of more labels, the column is hardly that of the labels.
constexpr std::size_t kMostLabels = 10'000;

/// Labels that look alike but for blanks around them and letter case, "'a' / 'A ', 'b' / ' b'"; empty where none do.
std::string alike_labels(const std::vector<std::string>& labels);

class Classes {
 public:
  /// Those of labels.txt. Throws Error for an empty file, an empty line, a name twice, more names than
  /// kMostLabels, or what is not UTF-8.
  static Classes named(Lines lines);
  /// The labels, sorted, as numbers where all are numbers.
  static Classes of(const std::set<std::string>& labels);
  /// Those that a model tells apart, whose labels are read as with a labels.txt.
  static Classes of_model(const std::vector<std::string>& names);

  const std::string& source() const { return source_; }  ///< labels.txt, where there is one
  const std::vector<std::string>& names() const { return names_; }
  /// The class that `label` means; none where there is no such.
  std::optional<i64> find(const std::string& label) const;
  /// The name of the class that a label means; the label itself where there is none.
  const std::string& name_of(const std::string& label) const;
  /// The class of a row of `file`. Throws Error, naming file and line, where there is none.
  i64 index(const Row& row, const std::string& file) const;

 private:
  void add(std::string name);

  std::string source_;
  std::vector<std::string> names_;
  std::map<std::string, i64> index_;
  bool counted_ = false;  // a label may be a class' number
};

/// Those of the labels.txt in a folder; nothing where it has none.
std::optional<Classes> classes_in(const std::filesystem::path& folder);
/// Those of the labels.txt beside a single file, if they cover all of its `labels`: else it belongs to
/// other files, which `remark` then says, and the labels are the classes, as where there is none.
Classes classes_beside(std::optional<Classes> named, const std::set<std::string>& labels,
                       std::string& remark);

}  // namespace minima
