/// minima data: what is in a file of labelled texts, or in a folder of splits.
#include "core/files/json.hpp"
#include "data/classes.hpp"
#include "data/counted.hpp"
#include "data/dataset.hpp"
#include "data/statistics.hpp"
#include "data/tokenizer_files.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

const char* const kSplits[] = {"train", "dev", "test"};
constexpr std::pair<int, int> kShared[] = {{1, 0}, {2, 0}, {2, 1}};
constexpr std::pair<const char*, double> kPercentiles[] = {{"min", 0},  {"p50", 50}, {"p90", 90},
                                                           {"p95", 95}, {"p99", 99}, {"max", 100}};

struct DataVerb {
  std::string data = "builtin", vocab;
  bool cased = false, uncased = false, json = false;
  std::optional<u64> seed;
  ReadOptions read;

  /// A split as it was read.
  struct Part {
    int split;
    std::string name, file, note, first_skipped;
    i64 skipped = 0;
  };
  std::vector<Part> parts;
  std::optional<Classes> named;  // by a labels.txt

  void read_file(Statistics& statistics, int split, const std::string& name, const fs::path& path) {
    const auto rows = open_rows(path, read);
    for (Row row; rows->next(row);) {
      if (named) named->index(row, path.string());
      try {
        statistics.add(row, split);
      } catch (const Error& error) {
        fail("{}: {}", path.string(), error.what());
      }
    }
    parts.push_back(
        {split, name, path.string(), rows->note(), rows->first_skipped(), rows->skipped()});
  }

  void read_all(Statistics& statistics) {
    std::error_code none;
    check(!seed || data == "debian", "--seed draws texts from debian; of {} all are counted", data);
    check(!read.label_column.empty(), "--label-column is empty; it names the label's column");
    if (is_source(data)) {
      const Dataset dataset = load_dataset(data, seed.value_or(1), read);
      int split = 0;
      for (const auto* examples : {&dataset.train, &dataset.dev, &dataset.test}) {
        for (const Example& example : *examples)
          statistics.add({dataset.label_names[static_cast<std::size_t>(example.label)],
                          example.text, 0, example.pair},
                         split);
        parts.push_back({split, kSplits[split], data, "", ""});
        ++split;
      }
    } else if (fs::is_directory(data, none)) {
      named = classes_in(data);
      for (int split = 0; split < 3; ++split)
        if (const auto path = split_file(data, kSplits[split]))
          read_file(statistics, split, kSplits[split], *path);
      check(!parts.empty(), "{}: has no train, dev or test, as .tsv, .csv or .jsonl", data);
    } else {
      refuse_missing(data);
      read_file(statistics, 0, "all", data);
      Part& part = parts.front();
      std::string remark;
      named = classes_beside(classes_in(fs::path(data).parent_path()), labels(statistics.split(0)),
                             remark);
      if (!remark.empty()) part.note += (part.note.empty() ? "" : "; ") + remark;
    }
  }

  /// The name of a label that is a number; empty where it is a name itself.
  std::string name_of(const std::string& label) const {
    const std::string& name = named ? named->name_of(label) : label;
    return name == label ? "" : name;
  }

  static std::set<std::string> labels(const SplitStatistics& split) {
    std::set<std::string> labels;
    for (const auto& [label, rows] : split.labels) labels.insert(label);
    return labels;
  }
  /// The labels and their rows, in the order that classes have without a labels.txt.
  static std::vector<std::pair<std::string, i64>> classes(const SplitStatistics& split) {
    std::vector<std::pair<std::string, i64>> result;
    const Classes all = Classes::of(labels(split));
    for (const std::string& label : all.names()) result.emplace_back(label, split.labels.at(label));
    return result;
  }

  static Json to_json(const Lengths& lengths) {
    Json result;
    for (const auto& [name, percent] : kPercentiles) result[name] = lengths.percentile(percent);
    result["mean"] = lengths.mean();
    return result;
  }

  Json to_json(const Statistics& statistics) const {
    Json result = {{"data", data}, {"rows", 0}, {"skipped", 0}, {"splits", Json::object()}};
    for (const Part& part : parts) {
      const SplitStatistics& s = statistics.split(part.split);
      Json split = {{"file", part.file}, {"rows", s.rows}, {"skipped", part.skipped}};
      if (part.skipped > 0) split["first_skipped"] = part.first_skipped;
      if (!part.note.empty()) split["note"] = part.note;
      split["pairs"] = s.pairs;
      split["empty"] = s.empty;
      split["classes"] = Json::array();
      for (const auto& [label, rows] : classes(s)) {
        Json one = {{"label", label}, {"rows", rows}};
        one["share"] = static_cast<double>(rows) / static_cast<double>(s.rows);
        if (const std::string name = name_of(label); !name.empty()) one["name"] = name;
        split["classes"].push_back(one);
      }
      split["balance"] = s.balance();
      split["characters"] = to_json(s.characters);
      split["words"] = to_json(s.words);
      if (s.tokens.count() > 0) split["tokens"] = to_json(s.tokens), split["unknown"] = s.unknown;
      split["duplicates"] = {{"exact", statistics.exact().within(part.split)},
                             {"normalized", statistics.normalized().within(part.split)}};
      result["rows"] = result["rows"].get<i64>() + s.rows;
      result["skipped"] = result["skipped"].get<i64>() + part.skipped;
      result["splits"][part.name] = split;
    }
    for (const auto& [split, other] : kShared)
      if (parts.size() > 1)
        result["shared"][fmt::format("{}_in_{}", kSplits[split], kSplits[other])] = {
            {"exact", statistics.exact().shared(split, other)},
            {"normalized", statistics.normalized().shared(split, other)}};
    for (const auto& [name, texts] : {std::pair("exact", &statistics.exact()),
                                      std::pair("normalized", &statistics.normalized())}) {
      const RepeatedTexts::Conflicts conflicts = texts->conflicts();
      result["conflicts"][name] = {{"texts", conflicts.texts}, {"rows", conflicts.rows}};
      result["estimated_from_one_in"][name] = texts->one_in();
    }
    return result;
  }

  void print_part(const Part& part, const Statistics& statistics) const {
    const SplitStatistics& s = statistics.split(part.split);
    print_text("{} ({}): {}", part.name, part.file, counted(s.rows, "row"));
    if (s.pairs > 0) print_text(", {} of them pairs", s.pairs);
    if (s.empty > 0) print_text(", {} without a word", s.empty);
    if (part.skipped > 0)
      print_text(", {} skipped ({})", counted(part.skipped, "bad row"), part.first_skipped);
    print_text("{}{}\n", part.note.empty() ? "" : "; ", part.note);
    print_text("\n  {:>9} {:>7}  label\n", "rows", "share");
    const auto all = classes(s);
    constexpr std::size_t kShown = 60;
    for (std::size_t i = 0; i < std::min(all.size(), kShown); ++i)
      print_text("  {:>9} {:>5.1f} %  {} {}\n", all[i].second,
                 100 * static_cast<double>(all[i].second) / static_cast<double>(s.rows),
                 shown(all[i].first), shown(name_of(all[i].first)));
    if (all.size() > kShown) print_text("  and {} more\n", all.size() - kShown);
    print_text("  balance {:.3f} (1: equal shares)\n\n  {:<10}", s.balance(), "length");
    for (const auto& [name, percent] : kPercentiles) print_text(" {:>7}", name);
    print_text(" {:>8}\n", "mean");
    const auto line = [](const char* what, const Lengths& lengths) {
      if (lengths.count() == 0) return;
      print_text("  {:<10}", what);
      for (const auto& [name, percent] : kPercentiles)
        print_text(" {:>7}", lengths.percentile(percent));
      print_text(" {:>8.1f}\n", lengths.mean());
    };
    line("characters", s.characters);
    line("words", s.words);
    line("tokens", s.tokens);
    if (s.tokens.count() > 0)
      print_text("  [UNK]: {:.3f} % of the tokens\n",
                 100 * static_cast<double>(s.unknown) /
                     (s.tokens.mean() * static_cast<double>(s.tokens.count())));
    print_text("\n  rows whose text an earlier row has: {}, ignoring case and punctuation {}\n\n",
               statistics.exact().within(part.split), statistics.normalized().within(part.split));
  }

  void run() {
    std::optional<Tokenizer> tokenizer;
    const std::optional<Casing> casing = chosen_casing(cased, uncased);
    check(!casing || !vocab.empty(), "--cased and --uncased say how --vocab reads texts; give one");
    if (!vocab.empty()) tokenizer = read_tokenizer(vocab, casing);
    Statistics statistics(tokenizer ? &*tokenizer : nullptr);
    read_all(statistics);
    std::set<std::string> all;
    for (int split = 0; split < 3; ++split) all.merge(labels(statistics.split(split)));
    tell_of_alike_labels({all.begin(), all.end()});
    if (json) return fmt::print("{}\n", to_json(statistics).dump());
    for (const Part& part : parts) print_part(part, statistics);
    for (const auto& [split, other] : kShared)
      if (statistics.split(split).rows > 0 && statistics.split(other).rows > 0)
        print_text("rows of {} whose text is in {}: {}, ignoring case and punctuation {}\n",
                   kSplits[split], kSplits[other], statistics.exact().shared(split, other),
                   statistics.normalized().shared(split, other));
    const auto exact = statistics.exact().conflicts(), near = statistics.normalized().conflicts();
    print_text(
        "texts with more than one label: {} ({} rows), ignoring case and punctuation {} ({} "
        "rows)\n",
        exact.texts, exact.rows, near.texts, near.rows);
    const i64 of = statistics.exact().one_in(), near_of = statistics.normalized().one_in();
    if (std::max(of, near_of) > 1)
      print_text("(repeated texts are estimated from one text in {}{})\n", of,
                 near_of == of
                     ? ""
                     : fmt::format(", ignoring case and punctuation from one in {}", near_of));
  }
};

}  // namespace

void add_data(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "data", "what is in a file or folder of labelled texts: classes, lengths, repeated texts");
  const auto options = std::make_shared<DataVerb>();
  verb.add_option("data", options->data,
                  "a .tsv, .csv or .jsonl file, a folder with train, dev, test, builtin, debian")
      ->capture_default_str();
  add_read_options(verb, options->read);
  verb.add_option("--vocab", options->vocab,
                  "vocab.txt, tokenizer.json or their folder: count tokens too");
  add_casing_options(verb, options->cased, options->uncased, "with a vocab.txt");
  verb.add_option("--seed", options->seed, "draws from debian (default: 1)");
  verb.add_flag("--json", options->json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
