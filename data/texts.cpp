#include "data/texts.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "core/rng.hpp"
#include "core/text/split.hpp"
#include "core/text/utf8.hpp"
#include "data/counted.hpp"
#include "data/readers/notes.hpp"
#include "data/readers/plain.hpp"
#include "data/repeated_texts.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

/// Each text of a pair as a text of its own.
std::vector<Example> separated(std::vector<Example> examples) {
  std::vector<Example> texts;
  for (Example& example : examples) {
    std::string second = std::exchange(example.pair, {});
    example.label = 0;
    texts.push_back(std::move(example));
    if (!second.empty()) texts.push_back({std::move(second), 0});
  }
  return texts;
}

std::unique_ptr<RowReader> open_texts(const fs::path& path, const ReadOptions& read) {
  if (!is_plain_text(path, read)) return open_unlabelled_rows(path, read);
  return std::make_unique<PlainReader>(open_plain_text(path, read), read);
}

std::vector<Example> texts_of(const fs::path& path, const ReadOptions& read, std::string& remarks) {
  const auto rows = open_texts(path, read);
  std::vector<Example> examples;
  for (Row& row : all_rows(*rows))
    examples.push_back({std::move(row.text), 0, std::move(row.pair)});
  for (const std::string& note : notes(*rows))
    remarks += fmt::format("; {}: {}", path.string(), note);
  return separated(std::move(examples));
}

/// Draws a few of the training texts as dev, each with all of its rows, so that none is in both.
void hold_out(Dataset& dataset, const std::string& file, u64 seed) {
  std::vector<Example> rows = std::exchange(dataset.train, {});
  std::vector<std::vector<std::size_t>> texts = rows_of_texts(rows);
  check(texts.size() >= 2, "{}: has {}; pre-training needs 2 at least", file,
        counted(texts.size(), "different text"));
  RandomSequence(seed, "split/texts").shuffle(texts);
  std::size_t lightest = rows.size();
  for (const auto& text : texts) lightest = std::min(lightest, text.size());
  const std::size_t share = std::clamp<std::size_t>(rows.size() / 20, 1, 2000),
                    most = std::max(share, lightest);
  for (const auto& text : texts) {
    const bool held_out = dataset.dev.size() + text.size() <= most;
    for (const std::size_t row : text)
      (held_out ? dataset.dev : dataset.train).push_back(std::move(rows[row]));
  }
}

}  // namespace

bool is_header(std::string_view line, char delimiter, const std::string& column) {
  const std::vector<std::string> names = split(line, delimiter);
  return names.size() > 1 && std::ranges::count(names, column) > 0;
}

bool is_plain_text(const fs::path& path, const ReadOptions& read) {
  return read.plain_text || (ending(path) == ".txt" && read.delimiter.empty());
}

Lines open_plain_text(const fs::path& path, const ReadOptions& read) {
  const ReadOptions usual;
  check(read.text_column == usual.text_column && read.pair_column.empty() && !read.no_header &&
            read.delimiter.empty(),
        "{}: is plain text, a text a line; --text-column, --pair-column, --no-header and "
        "--delimiter are for tables",
        path.string());
  Lines lines(path);
  const std::string header(lines.first_line());
  check(read.plain_text || !is_header(header, '\t', read.text_column),
        "{}:1: '{}' is the header of a table, but a file named .txt is plain text, a text a line; "
        "name it .tsv, or say --plain-text where that is a text",
        path.string(), shown(header));
  return lines;
}

std::unique_ptr<RowReader> open_unlabelled_rows(const fs::path& path, ReadOptions read) {
  read.label_column.clear();
  return open_rows(path, read);
}

Dataset load_texts(const std::string& spec, u64 seed, ReadOptions read) {
  if (is_source(spec)) {
    Dataset dataset = load_dataset(spec, seed, read);
    for (auto* split : {&dataset.train, &dataset.dev, &dataset.test})
      *split = separated(std::move(*split));
    dataset.label_names = {"text"};
    return dataset;
  }
  std::error_code none;
  refuse_missing(spec);
  const bool is_folder = fs::is_directory(spec, none);
  const auto file = [&](const char* split) { return split_file(spec, split, Texts::plain); };
  const std::optional<fs::path> train = is_folder ? file("train") : spec,
                                dev = is_folder ? file("dev") : std::nullopt;
  check(train.has_value(), "{}: has no train.txt, nor .tsv, .csv or .jsonl", spec);

  Dataset dataset;
  dataset.name = is_folder ? folder_name(spec) : spec;
  dataset.label_names = {"text"};
  std::string remarks;
  dataset.train = texts_of(*train, read, remarks);
  if (dev)
    dataset.dev = texts_of(*dev, read, remarks);
  else
    hold_out(dataset, train->string(), seed);
  dataset.origin = fmt::format("{}: {} texts to train on, {} held out{}", spec,
                               dataset.train.size(), dataset.dev.size(), remarks);
  return dataset;
}

}  // namespace minima
