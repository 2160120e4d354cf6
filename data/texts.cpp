#include "data/texts.hpp"

#include <algorithm>
#include <numeric>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "data/readers/notes.hpp"
#include "data/readers/plain.hpp"

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

std::unique_ptr<RowReader> open_texts(const fs::path& path, ReadOptions read) {
  if (path.extension() != ".txt") {
    read.label_column.clear();
    return open_rows(path, read);
  }
  const ReadOptions usual;
  check(read.text_column == usual.text_column && read.pair_column.empty() && !read.no_header,
        "{}: is plain text, a text a line; --text-column, --pair-column and --no-header are for "
        "tables",
        path.string());
  return std::make_unique<PlainReader>(Lines(path), read);
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

Dataset from_folder(const fs::path& folder, const ReadOptions& read) {
  fs::path named = folder.filename();
  if (named.empty()) named = folder.parent_path().filename();
  Dataset dataset;
  dataset.name = named.string();
  dataset.label_names = {"text"};
  std::string remarks;
  for (const auto& [name, split] : {std::pair("train", &dataset.train), {"dev", &dataset.dev}}) {
    const std::optional<fs::path> path = split_file(folder, name);
    check(path.has_value(), "{}: has no {}.tsv, nor .csv or .jsonl", folder.string(), name);
    *split = texts_of(*path, read, remarks);
  }
  dataset.origin = fmt::format("{}: {} texts to train on, {} held out{}", folder.string(),
                               dataset.train.size(), dataset.dev.size(), remarks);
  return dataset;
}

}  // namespace

Dataset load_texts(const std::string& spec, u64 seed, ReadOptions read) {
  if (spec == "builtin" || spec == "debian") {
    Dataset dataset = load_dataset(spec, seed, read);
    for (auto* split : {&dataset.train, &dataset.dev, &dataset.test})
      *split = separated(std::move(*split));
    dataset.label_names = {"text"};
    return dataset;
  }
  std::error_code none;
  if (fs::is_directory(spec, none)) return from_folder(spec, read);
  check(fs::exists(spec, none), "data: there is no '{}'; give builtin, debian, a folder or a file",
        spec);
  std::string remarks;
  std::vector<Example> texts = texts_of(spec, read, remarks);
  check(texts.size() >= 2, "{}: has {} texts; pre-training needs 2 at least", spec, texts.size());

  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  RandomSequence(seed, "split/texts").shuffle(order);
  const std::size_t held_out = std::clamp<std::size_t>(texts.size() / 20, 1, 2000);
  Dataset dataset;
  dataset.name = spec;
  dataset.label_names = {"text"};
  for (std::size_t i = 0; i < order.size(); ++i)
    (i < held_out ? dataset.dev : dataset.train).push_back(std::move(texts[order[i]]));
  dataset.origin = fmt::format("{}: {} texts to train on, {} held out{}", spec,
                               dataset.train.size(), dataset.dev.size(), remarks);
  return dataset;
}

}  // namespace minima
