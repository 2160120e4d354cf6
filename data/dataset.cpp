#include "data/dataset.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_set>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "core/rng.hpp"
#include "core/text/utf8.hpp"
#include "data/builtin.hpp"
#include "data/classes.hpp"
#include "data/counted.hpp"
#include "data/readers/debian.hpp"
#include "data/readers/notes.hpp"
#include "data/repeated_texts.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPackages = 60'000, kMinPackagesOfSection = 200;
/// With so many different texts that count for it a label is in training, dev and test.
constexpr std::size_t kTextsToSplit = 3;

struct Source {
  std::string file;
  std::vector<Row> rows;
  std::vector<std::string> remarks = {};  // for the user

  static Source read(const fs::path& path, const ReadOptions& options) {
    const auto reader = open_rows(path, options);
    Source source{path.string(), all_rows(*reader)};
    source.remarks = notes(*reader);
    return source;
  }
  std::set<std::string> labels() const {
    std::set<std::string> labels;
    for (const Row& row : rows) labels.insert(row.label);
    check(labels.size() <= kMostLabels,
          "{}: has {} different labels, of which {} are taken; is this the column of the labels?",
          file, labels.size(), kMostLabels);
    return labels;
  }
};

/// The rows with their classes. Takes the texts out of them: they may be most of the memory.
std::vector<Example> examples(Source& source, const Classes& classes) {
  std::vector<Example> result;
  result.reserve(source.rows.size());
  for (Row& row : source.rows)
    result.push_back({std::move(row.text), classes.index(row, source.file), std::move(row.pair)});
  return result;
}

void check_training_labels(const Dataset& dataset, const Source& train) {
  const i64 first = dataset.train.front().label;
  check(std::ranges::any_of(dataset.train, [&](const Example& e) { return e.label != first; }),
        "{}: all {} training texts have the label '{}'; a classifier needs two classes", train.file,
        dataset.train.size(), dataset.label_names[first]);
}

/// Throws the Error for rows whose label no training text has: at the first, with the other such labels.
void check_seen_in_training(const Dataset& dataset, const Classes& classes, const Source& source) {
  constexpr std::size_t kNamed = 5;
  std::vector<bool> seen(dataset.label_names.size());
  for (const Example& example : dataset.train) seen[example.label] = true;
  const Row* first = nullptr;
  std::set<std::string> others;
  for (const Row& row : source.rows) {
    const std::optional<i64> label =
        classes.source().empty() ? classes.find(row.label) : classes.index(row, source.file);
    if (label && seen[*label]) continue;
    if (!first) first = &row;
    if (row.label != first->label) others.insert(fmt::format("'{}'", shown(row.label)));
  }
  if (!first) return;
  fail("{}:{}: no training text has the label '{}'{}; a model cannot learn what it is not shown",
       source.file, first->line, shown(first->label),
       others.empty() ? "" : ", nor " + listed({others.begin(), others.end()}, kNamed));
}

/// What a row is for.
enum class Part : u8 { train, dev, test };

/// Draws parts from rows, which train keeps, a tenth for each of `wanted`, with every label in equal shares: of n rows with a label, n/10
/// (rounded, at least one where there are three texts) go to each, chosen by the seed. All rows of a text go together, so
/// that none is in two parts. It counts for the label of its first row; where this can spare it, for the first of its labels
/// that has three texts, of which fewer count for it. The shares are met as nearly as this allows, and a text of more rows
/// than a share stays in training, unless it is among as many of the least as there are parts to draw.
/// Within a part the order is the file's. Throws Error for too few texts.
std::map<Part, Source> draw_parts(Source all, const Classes& classes,
                                  const std::vector<Part>& wanted, u64 seed) {
  using Text = std::vector<std::size_t>;  // its rows
  std::vector<i64> label_of_row;
  for (const Row& row : all.rows) label_of_row.push_back(classes.index(row, all.file));
  std::map<i64, std::vector<Text>> of_label;
  std::vector<Text> all_texts = rows_of_texts(all.rows);
  const std::string size =
      counted(all.rows.size(), "row") + ", " + counted(all_texts.size(), "different text");
  std::vector<std::size_t> having(classes.names().size()),
      counting(having.size());  // by label: texts
  for (const Text& text : all_texts) {
    ++counting[label_of_row[text.front()]];
    std::set<i64> labels;
    for (const std::size_t row : text) labels.insert(label_of_row[row]);
    for (const i64 label : labels) ++having[label];
  }
  const auto lacks_texts = [&](std::size_t row) {
    const i64 label = label_of_row[row];
    return having[label] >= kTextsToSplit && counting[label] < kTextsToSplit;
  };
  for (Text& text : all_texts) {
    i64 label = label_of_row[text.front()];
    const auto other = std::ranges::find_if(text, lacks_texts);
    if (other != text.end() && (counting[label] > kTextsToSplit || having[label] < kTextsToSplit)) {
      --counting[label];
      ++counting[label = label_of_row[*other]];
    }
    of_label[label].push_back(std::move(text));
  }

  std::vector<Part> part(all.rows.size(), Part::train);
  std::vector<bool> trained(classes.names().size());  // by label
  const auto put = [&](const Text& text, Part where) {
    for (const std::size_t row : text) part[row] = where;
  };
  for (auto& [label, texts] : of_label) {
    if (texts.size() < kTextsToSplit) continue;
    RandomSequence(seed, "split/" + classes.names()[label]).shuffle(texts);
    std::vector<std::size_t> weights;
    for (const Text& text : texts) weights.push_back(text.size());
    const std::size_t n = std::accumulate(weights.begin(), weights.end(), std::size_t{0});
    const std::size_t share = std::max<std::size_t>(1, (n + 5) / 10);
    std::ranges::sort(weights);
    const std::size_t most = std::max(share, weights[wanted.size() - 1]);
    const auto heavy = std::stable_partition(texts.begin(), texts.end(),
                                             [&](const Text& text) { return text.size() <= most; });
    // A text is kept for each part that comes, and for training where no heavy one stays there.
    auto kept = std::ssize(wanted) + (heavy == texts.end() ? 1 : 0);
    auto next = texts.begin();
    for (const Part where : wanted) {
      --kept;
      for (std::size_t rows = 0; rows < share && heavy - next > kept; ++next) {
        put(*next, where);
        rows += next->size();
      }
    }
  }
  // A label that only rows of other labels' texts have may be in no training text: they go there.
  for (std::size_t i = 0; i < part.size(); ++i)
    if (part[i] == Part::train) trained[label_of_row[i]] = true;
  for (const auto& [label, texts] : of_label)
    for (const Text& text : texts)
      if (std::ranges::any_of(text, [&](std::size_t row) { return !trained[label_of_row[row]]; }))
        put(text, Part::train);
  std::map<Part, Source> parts;
  parts[Part::train].file = all.file;
  for (const Part each : wanted) parts[each].file = all.file;
  parts[Part::train].remarks = std::move(all.remarks);
  for (std::size_t i = 0; i < all.rows.size(); ++i)
    parts[part[i]].rows.push_back(std::move(all.rows[i]));
  check(std::ranges::none_of(wanted, [&](Part each) { return parts[each].rows.empty(); }),
        "{}: too few to split: {} (but for case and punctuation); a label needs three different "
        "texts to be in every split; or name files of their own with --dev and --test",
        all.file, size);
  return parts;
}

/// The dataset of these parts; of dev and test what is not there is drawn from train.
Dataset assemble(std::string name, std::string origin, const Classes& classes,
                 std::map<Part, Source> parts, u64 seed) {
  std::vector<Part> missing;
  std::vector<std::string> drawn;
  for (const auto& [part, split] : {std::pair{Part::dev, "dev"}, {Part::test, "test"}})
    if (!parts.contains(part)) missing.push_back(part), drawn.push_back(split);
  if (!missing.empty()) {
    for (auto& [part, source] : draw_parts(std::move(parts[Part::train]), classes, missing, seed))
      parts[part] = std::move(source);
    origin += fmt::format(", {} drawn by seed {}, of each label a tenth, at least one",
                          fmt::join(drawn, " and "), seed);
  }
  Dataset dataset;
  dataset.name = std::move(name);
  dataset.label_names = classes.names();
  dataset.train = examples(parts[Part::train], classes);
  check_training_labels(dataset, parts[Part::train]);
  for (const Part part : {Part::dev, Part::test})
    check_seen_in_training(dataset, classes, parts[part]);
  dataset.dev = examples(parts[Part::dev], classes);
  dataset.test = examples(parts[Part::test], classes);
  dataset.origin = fmt::format("{}: {} train, {} dev, {} test", origin, dataset.train.size(),
                               dataset.dev.size(), dataset.test.size());
  for (const auto& [part, source] : parts)
    for (const std::string& remark : source.remarks)
      dataset.origin += fmt::format("; {}: {}", source.file, remark);
  return dataset;
}

/// The files of a folder's splits, or a single file for train; those that lie apart in place of them.
std::map<Part, fs::path> files_of(const fs::path& path, bool is_folder, const SplitFiles& apart) {
  std::map<Part, fs::path> files;
  if (!is_folder) files[Part::train] = path;
  for (const auto& [part, split, other] : {std::tuple{Part::train, "train", std::string()},
                                           {Part::dev, "dev", apart.dev},
                                           {Part::test, "test", apart.test}}) {
    if (!other.empty())
      files[part] = other;
    else if (const auto own = is_folder ? split_file(path, split) : std::nullopt)
      files[part] = *own;
  }
  check(files.contains(Part::train),
        "{}: has no train.tsv, nor .csv or .jsonl; a folder holds train and, if not drawn from it, "
        "dev and test; a single file is split by seed",
        path.string());
  return files;
}

Dataset from_files(const fs::path& path, bool is_folder, u64 seed, const ReadOptions& options,
                   const SplitFiles& apart) {
  std::map<Part, Source> parts;
  for (const auto& [part, file] : files_of(path, is_folder, apart))
    parts[part] = Source::read(file, options);
  Source& train = parts[Part::train];
  std::string name = is_folder ? folder_name(path) : path.stem().string();
  std::string origin = path.string(), remark;
  const std::optional<Classes> named = classes_in(is_folder ? path : path.parent_path());
  const Classes classes =
      named && is_folder ? *named : classes_beside(named, train.labels(), remark);
  if (!remark.empty()) train.remarks.push_back(remark);
  for (const auto& [split, other] : {std::pair{"dev", apart.dev}, {"test", apart.test}})
    if (!other.empty()) origin += fmt::format(", {} from {}", split, other);
  return assemble(std::move(name), std::move(origin), classes, std::move(parts), seed);
}

Dataset builtin() {
  const BuiltinTexts texts = builtin_texts();
  const auto part = [](std::string_view text, const std::string& file) {
    return Source{file, parse_rows(text, Format::tsv, file)};
  };
  constexpr u64 kNothingDrawn = 0;
  return assemble("builtin", "the project's own texts",
                  Classes::named(Lines(texts.labels, "builtin/labels.txt")),
                  {{Part::train, part(texts.train, "builtin/train.tsv")},
                   {Part::dev, part(texts.dev, "builtin/dev.tsv")},
                   {Part::test, part(texts.test, "builtin/test.tsv")}},
                  kNothingDrawn);
}

Dataset debian(u64 seed) {
  std::vector<Row> rows = read_package_list();
  const std::size_t listed = rows.size();
  // Many packages share a description (libraries and their debugging symbols): each text counts
  // once, so that none is in two splits.
  std::unordered_set<std::string> texts;
  std::erase_if(rows, [&](const Row& row) { return !texts.insert(text_key(row.text)).second; });
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
  std::map<Part, Source> parts;
  parts[Part::train] = {"apt-cache dumpavail", std::move(rows)};
  const Classes classes = Classes::of(parts[Part::train].labels());
  return assemble("debian", origin, classes, std::move(parts), seed);
}

}  // namespace

bool is_source(const std::string& spec) { return spec == "builtin" || spec == "debian"; }

void refuse_missing(const std::string& spec) {
  std::error_code none;
  const fs::path here = fs::current_path(none);
  check(fs::exists(spec, none),
        "data: there is no '{}'{}; give builtin, debian, a folder or a file", spec,
        fs::path(spec).is_relative() ? fmt::format(" in {}", shown(here.string())) : "");
}

std::string folder_name(const fs::path& folder) {
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

std::optional<fs::path> split_file(const fs::path& folder, const std::string& split, Texts texts) {
  std::vector<const char*> endings = {".tsv", ".csv", ".jsonl", ".ndjson"};
  if (texts == Texts::plain) endings.push_back(".txt");
  std::vector<std::string> names = {split};
  if (split == "dev") names.insert(names.end(), {"validation", "valid", "val"});
  std::optional<fs::path> found;
  std::string packed;
  std::error_code none;
  for (const std::string& name : names)
    for (const std::string ending : endings) {
      for (const char* packing : {".gz", ".xz", ".bz2", ".zst", ".zip"})
        if (fs::exists(folder / (name + ending + packing), none)) packed = name + ending + packing;
      const fs::path path = folder / (name + ending);
      if (!fs::exists(path, none)) continue;
      check(!found, "{}: has both {} and {}; which is it?", folder.string(),
            found ? found->filename().string() : "", path.filename().string());
      found = path;
    }
  check(found || packed.empty(), "{}: its {} is {}, which is compressed; unpack it first",
        folder.string(), split, packed);
  return found;
}

Dataset load_dataset(const std::string& spec, u64 seed, const ReadOptions& read,
                     const SplitFiles& apart) {
  if (is_source(spec)) {
    check(read == ReadOptions(),
          "data: {} has no columns to choose and no bad rows; --text-column, --label-column, "
          "--pair-column, --no-header, --delimiter and --skip-bad-rows are for files",
          spec);
    check(apart == SplitFiles(), "data: --dev and --test are for files; {} has its own", spec);
  }
  check(!read.label_column.empty(), "data: --label-column is empty; it names the label's column");
  if (spec == "builtin") return builtin();
  if (spec == "debian") return debian(seed);
  std::error_code none;  // a name that cannot be looked up is not there
  const bool is_folder = fs::is_directory(spec, none);
  if (!is_folder) refuse_missing(spec);
  return from_files(spec, is_folder, seed, read, apart);
}

}  // namespace minima
