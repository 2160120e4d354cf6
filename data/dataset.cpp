#include "data/dataset.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_set>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/rng.hpp"
#include "data/builtin.hpp"
#include "data/readers/debian.hpp"
#include "data/readers/notes.hpp"
#include "data/repeated_texts.hpp"
#include "data/unicode.hpp"
#include "data/utf8.hpp"
#include "data/whole_number.hpp"
#include "data/word_scanner.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPackages = 60'000, kMinPackagesOfSection = 200;

[[noreturn]] void refuse_unseen(const std::string& file, const Row& row) {
  fail("{}:{}: no training text has the label '{}'; a model cannot learn it", file, row.line,
       row.label);
}

/// Which class a label means.
class Classes {
 public:
  /// The names in the text of labels.txt, which `source` names in messages.
  static Classes named(std::string_view text, const std::string& source) {
    Classes result;
    result.source_ = source;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      const std::size_t number = result.names_.size() + 1;
      check(!line.empty(), "{}:{}: the line is empty; each line names one class", source, number);
      check(find_invalid_utf8(line) == line.npos, "{}:{}: the name is not valid UTF-8", source,
            number);
      result.add(std::string(line));
    }
    check(!result.names_.empty(), "{}: is empty; each line names one class", source);
    check(result.index_.size() == result.names_.size(), "{}: two classes have the same name",
          source);
    return result;
  }

  /// The labels of the training rows, sorted, as numbers where all are numbers.
  static Classes of(const std::vector<Row>& rows) {
    std::set<std::string> labels;
    for (const Row& row : rows) labels.insert(row.label);
    std::vector<std::string> sorted(labels.begin(), labels.end());
    if (std::ranges::all_of(sorted,
                            [](const std::string& s) { return whole_number(s).has_value(); }))
      std::ranges::stable_sort(sorted, {}, [](const std::string& s) { return *whole_number(s); });
    Classes result;
    for (std::string& label : sorted) result.add(std::move(label));
    return result;
  }

  const std::vector<std::string>& names() const { return names_; }

  /// The class of a row of `file`.
  i64 index(const Row& row, const std::string& file) const {
    if (const auto found = index_.find(row.label); found != index_.end()) return found->second;
    if (source_.empty()) refuse_unseen(file, row);
    if (const auto found = class_of(row.label, names_)) return *found;
    fail(
        "{}:{}: the label '{}' is neither a name in {} nor, where no name is a number, a number "
        "from 0 to {}",
        file, row.line, row.label, source_, names_.size() - 1);
  }

  /// Takes the texts out of the rows: they may be most of the memory.
  std::vector<Example> examples(std::vector<Row>& rows, const std::string& file) const {
    std::vector<Example> result;
    result.reserve(rows.size());
    for (Row& row : rows)
      result.push_back({std::move(row.text), index(row, file), std::move(row.pair)});
    return result;
  }

 private:
  void add(std::string name) {
    index_.emplace(name, static_cast<i64>(names_.size()));
    names_.push_back(std::move(name));
  }

  std::string source_;  // labels.txt, where there is one
  std::vector<std::string> names_;
  std::map<std::string, i64> index_;
};

struct Source {
  std::string file;
  std::vector<Row> rows;
  std::vector<std::string> remarks = {};  // for the user

  static Source read(const fs::path& path, const ReadOptions& options) {
    Source source{path.string(), {}};
    const auto reader = open_rows(path, options);
    for (Row row; reader->next(row);) source.rows.push_back(std::move(row));
    source.remarks = notes(*reader);
    check(!source.rows.empty() || reader->skipped() == 0, "{}: all {} rows are bad; the first: {}",
          source.file, reader->skipped(), reader->first_skipped());
    check(!source.rows.empty(), "{}: has a header but no rows", source.file);
    return source;
  }
};

void check_training_labels(const Dataset& dataset, const Source& train) {
  const i64 first = dataset.train.front().label;
  check(std::ranges::any_of(dataset.train, [&](const Example& e) { return e.label != first; }),
        "{}: all {} training texts have the label '{}'; a classifier needs two classes", train.file,
        dataset.train.size(), dataset.label_names[first]);
}

void check_seen_in_training(const Dataset& dataset, const std::vector<Example>& split,
                            const Source& source) {
  std::vector<bool> seen(dataset.label_names.size());
  for (const Example& example : dataset.train) seen[example.label] = true;
  for (std::size_t i = 0; i < split.size(); ++i)
    if (!seen[split[i].label]) refuse_unseen(source.file, source.rows[i]);
}

Dataset assemble(std::string name, std::string origin, const std::optional<Classes>& named,
                 Source train, Source dev, Source test) {
  const Classes classes = named ? *named : Classes::of(train.rows);
  Dataset dataset;
  dataset.name = std::move(name);
  dataset.label_names = classes.names();
  dataset.train = classes.examples(train.rows, train.file);
  check_training_labels(dataset, train);
  dataset.dev = classes.examples(dev.rows, dev.file);
  dataset.test = classes.examples(test.rows, test.file);
  check_seen_in_training(dataset, dataset.dev, dev);
  check_seen_in_training(dataset, dataset.test, test);
  dataset.origin = fmt::format("{}: {} train, {} dev, {} test", origin, dataset.train.size(),
                               dataset.dev.size(), dataset.test.size());
  for (const Source* source : {&train, &dev, &test})
    for (const std::string& remark : source->remarks)
      dataset.origin += fmt::format("; {}: {}", source->file, remark);
  return dataset;
}

/// 80/10/10 with every label in equal shares: of n texts with a label, chosen by the seed, n/10
/// (rounded, at least one where n ≥ 3) go to dev and as many to test. Within a split the order is
/// the file's.
Dataset split_by_seed(std::string name, const std::string& origin,
                      const std::optional<Classes>& named, Source all, u64 seed) {
  enum Part : u8 { train, dev, test };
  std::map<i64, std::vector<std::size_t>> of_label;
  const Classes classes = named ? *named : Classes::of(all.rows);
  for (std::size_t i = 0; i < all.rows.size(); ++i)
    of_label[classes.index(all.rows[i], all.file)].push_back(i);

  std::vector<Part> part(all.rows.size(), train);
  for (auto& [label, indices] : of_label) {
    RandomSequence(seed, "split/" + classes.names()[label]).shuffle(indices);
    const std::size_t n = indices.size();
    const std::size_t share = n < 3 ? 0 : std::max<std::size_t>(1, (n + 5) / 10);
    for (std::size_t i = 0; i < share; ++i) part[indices[i]] = dev;
    for (std::size_t i = share; i < 2 * share; ++i) part[indices[i]] = test;
  }
  Source parts[] = {{all.file, {}, std::move(all.remarks)}, {all.file, {}}, {all.file, {}}};
  for (std::size_t i = 0; i < all.rows.size(); ++i)
    parts[part[i]].rows.push_back(std::move(all.rows[i]));
  check(!parts[dev].rows.empty(),
        "{}: {} texts are too few to split; a label needs three to be in every split", all.file,
        all.rows.size());
  return assemble(
      std::move(name),
      fmt::format("{}, split 80/10/10 by seed {}, labels in equal shares", origin, seed), classes,
      std::move(parts[train]), std::move(parts[dev]), std::move(parts[test]));
}

std::optional<Classes> names_beside(const fs::path& folder) {
  const fs::path path = folder / "labels.txt";
  if (std::error_code none; !fs::exists(path, none)) return std::nullopt;
  return Classes::named(read_file(path), path.string());
}

Dataset from_folder(const fs::path& folder, const ReadOptions& options) {
  const auto read = [&](const char* split) {
    const std::optional<fs::path> path = split_file(folder, split);
    check(path.has_value(),
          "{}: has no {}.tsv, nor .csv or .jsonl; a folder holds train, dev and test, a single "
          "file is split by seed",
          folder.string(), split);
    return Source::read(*path, options);
  };
  fs::path named = folder.filename();
  if (named.empty()) named = folder.parent_path().filename();
  Source train = read("train"), dev = read("dev"), test = read("test");  // complains in this order
  return assemble(named.string(), folder.string(), names_beside(folder), std::move(train),
                  std::move(dev), std::move(test));
}

Dataset from_file(const fs::path& path, u64 seed, const ReadOptions& options) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  return split_by_seed(path.stem().string(), path.string(), names_beside(folder),
                       Source::read(path, options), seed);
}

Dataset builtin() {
  const BuiltinTexts texts = builtin_texts();
  const auto split = [](std::string_view text, const std::string& file) {
    return Source{file, parse_rows(text, Format::tsv, file)};
  };
  return assemble("builtin", "the project's own texts",
                  Classes::named(texts.labels, "builtin/labels.txt"),
                  split(texts.train, "builtin/train.tsv"), split(texts.dev, "builtin/dev.tsv"),
                  split(texts.test, "builtin/test.tsv"));
}

Dataset debian(u64 seed) {
  std::vector<Row> rows = read_package_list();
  const std::size_t listed = rows.size();
  // Many packages share a description (libraries and their debugging symbols): each text counts
  // once, so that none is in two splits.
  std::unordered_set<std::string> texts;
  std::erase_if(rows, [&](const Row& row) {
    return !texts.insert(without_case_and_punctuation(row.text)).second;
  });
  std::map<std::string, std::size_t> count;
  for (const Row& row : rows) ++count[row.label];
  std::erase_if(rows, [&](const Row& row) { return count[row.label] < kMinPackagesOfSection; });
  check(!rows.empty(),
        "debian: no section has {} packages with descriptions of their own; fetch the full list "
        "with 'apt-get update' (as root)",
        kMinPackagesOfSection);
  if (rows.size() > kMaxPackages) {
    RandomSequence(seed, "debian").shuffle(rows);
    rows.resize(kMaxPackages);
  }
  const std::string origin =
      fmt::format("descriptions of {} of the {} packages that apt lists", rows.size(), listed);
  return split_by_seed("debian", origin, std::nullopt, {"apt-cache dumpavail", std::move(rows)},
                       seed);
}

}  // namespace

std::optional<fs::path> split_file(const fs::path& folder, const std::string& split) {
  std::vector<std::string> names = {split};
  if (split == "dev") names.insert(names.end(), {"validation", "valid", "val"});
  std::optional<fs::path> found;
  for (const std::string& name : names)
    for (const char* extension : {".tsv", ".csv", ".jsonl", ".ndjson"}) {
      const fs::path path = folder / (name + extension);
      if (std::error_code none; !fs::exists(path, none)) continue;
      check(!found, "{}: has both {} and {}; which is it?", folder.string(),
            found ? found->filename().string() : "", path.filename().string());
      found = path;
    }
  return found;
}

std::optional<std::vector<std::string>> label_names_in(const fs::path& folder) {
  const std::optional<Classes> classes = names_beside(folder);
  if (!classes) return std::nullopt;
  return classes->names();
}

Dataset load_dataset(const std::string& spec, u64 seed, const ReadOptions& read) {
  if (spec == "builtin") return builtin();
  if (spec == "debian") return debian(seed);
  std::error_code none;  // a name that cannot be looked up is not there
  if (fs::is_directory(spec, none)) return from_folder(spec, read);
  check(fs::exists(spec, none), "data: there is no '{}'; give builtin, debian, a folder or a file",
        spec);
  return from_file(spec, seed, read);
}

std::optional<i64> class_of(const std::string& label, const std::vector<std::string>& names) {
  const auto found = std::ranges::find(names, label);
  if (found != names.end()) return found - names.begin();
  const auto number = whole_number(label);
  if (!number || *number < 0 || *number >= std::ssize(names)) return std::nullopt;
  if (std::ranges::any_of(names, [](const std::string& s) { return whole_number(s).has_value(); }))
    return std::nullopt;
  return number;
}

std::string without_case_and_punctuation(const std::string& text) {
  std::string result;
  WordScanner words(text, Casing::uncased);
  while (words.next()) {
    const std::string_view word = words.word().bytes;
    if (unicode::properties()[decode_utf8(word).value] & unicode::punctuation) continue;
    if (!result.empty()) result += ' ';
    result += word;
  }
  return result;
}

Overlaps count_overlaps(const Dataset& dataset) {
  RepeatedTexts texts;
  int split = 0;
  for (const auto* examples : {&dataset.train, &dataset.dev, &dataset.test}) {
    for (const Example& example : *examples) {
      const std::string both =
          example.pair.empty() ? example.text : example.text + '\t' + example.pair;
      texts.add(without_case_and_punctuation(both), split, example.label);
    }
    ++split;
  }
  return {texts.shared(1, 0), texts.shared(2, 0), texts.shared(2, 1)};
}

}  // namespace minima
