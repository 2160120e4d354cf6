/// minima eval: a model directory against labelled text.
#include <cmath>
#include <set>

#include "core/files/file.hpp"
#include "core/text/utf8.hpp"
#include "data/classes.hpp"
#include "data/counted.hpp"
#include "data/readers/notes.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"
#include "train/predictions.hpp"

namespace minima {
namespace {

/// Texts in memory at once, and about how many bytes of them; they are packed into batches by their tokens.
constexpr std::size_t kTexts = 4096, kBytes = 1024 * kTexts;

struct EvalVerb {
  CommonOptions common;
  std::string model, data, predictions;
  ReadOptions read;
  i64 numbers = 0;

  /// What the labels of the file mean where a labels.txt beside it names the classes, as in training; else
  /// themselves, as they do where only so the model has them all.
  Classes classes(const Classes& of_model) const {
    std::optional<Classes> named = classes_in(std::filesystem::path(data).parent_path());
    std::set<std::string> labels;
    if (named) {
      InputFile{data};  // refuses a pipe, which can be read only once
      const auto rows = open_rows(data, read);
      for (Row row; rows->next(row);) labels.insert(row.label);
    }
    std::string remark;
    Classes result = classes_beside(std::move(named), labels, remark);
    const auto has = [&](const std::string& name) { return of_model.find(name).has_value(); };
    const auto has_named = [&](const std::string& label) { return has(result.name_of(label)); };
    if (!labels.empty() && !std::ranges::all_of(labels, has_named) &&
        std::ranges::all_of(labels, has)) {
      remark = fmt::format("{}: its names are not the model's, the labels themselves are",
                           result.source());
      result = Classes::of(labels);
    }
    if (!remark.empty()) print_note("{}\n", remark);
    return result;
  }

  [[noreturn]] void refuse_label(const Row& row, const Classes& classes,
                                 const std::vector<std::string>& names) const {
    constexpr std::size_t kShown = 20;
    const std::vector<std::string> some(names.begin(),
                                        names.begin() + std::min(names.size(), kShown));
    const std::string& name = classes.name_of(row.label);
    fail(
        "{}:{}: label '{}'{} is not one of the model's: {}{}; leave such rows out, or rename the "
        "label",
        data, row.line, shown(row.label),
        name == row.label ? "" : fmt::format(", '{}' by {},", shown(name), classes.source()),
        fmt::format("{}", fmt::join(some, ", ")),
        names.size() > kShown ? fmt::format(", … ({} in all)", names.size()) : "");
  }

  /// Labels that are no names but numbers of the model's classes count them in the model's order, which is seldom the
  /// user's own.
  void tell_of_numbers(const std::vector<std::string>& names) const {
    std::vector<std::string> meanings;
    for (const std::string& name : names)
      meanings.push_back(fmt::format("{} = {}", meanings.size(), name));
    print_note(
        "note: {}: in {} the label is no name, and taken as a number of the model's classes: {}\n",
        data, counted(numbers, "row"), listed(meanings));
  }

  void run() {
    common.apply();
    check(predictions.empty() || !is_there(predictions),
          "--predictions {}: is there already; name another file", predictions);
    const TextClassifier classifier = load_model(model);
    const std::vector<std::string>& names = classifier.label_names;
    const i64 labels = classifier.model->config.labels;
    check(std::cmp_less_equal(labels, kMostLabels), "{}: has {} classes; eval takes {} at most",
          model, labels, kMostLabels);
    classifier.model->to(common.place());
    for (const std::string& note : classifier.notes) print_note("{}\n", note);
    tell_of_pairs(classifier, model, !read.pair_column.empty(), "--pair-column");

    Evaluation result{ConfusionMatrix(labels), 0};
    std::vector<Example> texts;
    std::vector<i64> lines;
    std::size_t bytes = 0;
    PoorTexts poor;
    i64 cut = 0;
    const bool pairs = !read.pair_column.empty();
    const auto evaluate_texts = [&](const Append& append) {
      if (texts.empty()) return;
      const TokenizedSplit split = tokenize(classifier.tokenizer, texts, classifier.max_length);
      const Tensor logits = predict(*classifier.model, split);
      result.add(evaluate(logits, split));
      cut += split.cut;
      for (i64 i = 0; i < split.size(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        poor.add(classifier.tokenizer, split, i, texts[at], lines[at]);
      }
      if (!std::isfinite(result.loss))
        fail_at_run_time("the loss is {}; the weights of {} are damaged", result.loss, model);
      if (append) {
        const std::string table = predictions_rows(logits, texts, names, pairs);
        append(table.data(), table.size());
      }
      texts.clear(), lines.clear();
      bytes = 0;
    };
    const Classes of_model = Classes::of_model(names), classes = this->classes(of_model);
    const auto rows = open_rows(data, read);
    const auto evaluate_all = [&](const Append& append) {
      const std::string header = predictions_header(pairs);
      if (append) append(header.data(), header.size());
      for (Row row; rows->next(row);) {
        // A number is a name in labels.txt before it is one of the model's classes: their orders may differ.
        const std::string& name = classes.name_of(row.label);
        const std::optional<i64> label = of_model.find(name);
        if (!label) refuse_label(row, classes, names);
        numbers += name != names[static_cast<std::size_t>(*label)];
        bytes += row.text.size() + row.pair.size();
        texts.push_back({std::move(row.text), *label, std::move(row.pair)});
        lines.push_back(row.line);
        if (texts.size() == kTexts || bytes >= kBytes) evaluate_texts(append);
      }
      evaluate_texts(append);
    };
    if (predictions.empty())
      evaluate_all({});
    else
      write_file(predictions, evaluate_all);
    for (const std::string& note : notes(*rows)) print_note("{}: {}\n", data, note);
    if (numbers > 0) tell_of_numbers(names);
    const i64 count = result.confusion.total();
    tell_of_cut(cut, count, "texts", classifier.max_length);
    poor.tell(count);
    if (common.json) {
      Json json = result.to_json();
      json["texts"] = count;
      json["classes"] = scores_of_classes(result, names);
      return fmt::print("{}\n", json.dump());
    }
    print_text("{}: accuracy {:.2f} %, macro-F1 {:.2f} %, MCC {:.3f}, loss {:.4f}\n\n{}",
               counted(count, "text"), 100 * result.accuracy(), 100 * result.macro_f1(),
               result.score("mcc"), result.loss, table(result, names));
  }
};

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("eval", "evaluate a model directory on a file of labelled texts");
  verb.footer(
      "--json: accuracy, macro_f1, mcc, positive_f1 (of two classes, the second's), loss, texts;\n"
      "confusion, a row for each class of the texts, in it how many were taken for each class; of "
      "more\n"
      "than 100 classes: labels, their number, and cells, [class, taken for, texts]; and classes, "
      "in the\n"
      "same order: name, precision, recall, f1, support (its texts).");
  const auto options = std::make_shared<EvalVerb>();
  verb.add_option("model,--model", options->model, "model directory (or --model DIR)")->required();
  verb.add_option("data", options->data, "a .tsv, .csv or .jsonl file")->required();
  verb.add_option("--predictions", options->predictions,
                  "a .csv to write: of each text label, predicted, probability, text");
  add_read_options(verb, options->read);
  options->common.add_device(verb);
  verb.add_option("--threads", options->common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--json", options->common.json,
                "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
