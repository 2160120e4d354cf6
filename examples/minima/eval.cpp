/// minima eval: a model directory against labelled text.
#include <cmath>
#include <set>

#include "data/classes.hpp"
#include "data/readers/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/verbs.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

struct EvalVerb {
  CommonOptions common;
  std::string model, data;
  ReadOptions read;

  /// The rows of a file, their labels read by class_of. Where a labels.txt beside the file names the classes, as in
  /// training, a number is one of its names before it is one of the model's: the two may be in another order.
  std::vector<Example> examples(const std::vector<std::string>& names) const {
    std::vector<Example> result;
    const auto reader = open_rows(data, read);
    const std::vector<Row> rows = all_rows(*reader);
    std::set<std::string> labels;
    for (const Row& row : rows) labels.insert(row.label);
    std::string remark;
    const Classes classes = classes_beside(data, labels, remark);
    if (!remark.empty()) fmt::print(stderr, "{}\n", remark);
    for (const Row& row : rows) {
      const std::optional<i64> label = class_of(classes.name_of(row.label), names);
      check(label.has_value(), "{}:{}: label '{}' is not one of the model's: {}", data, row.line,
            row.label, fmt::format("{}", fmt::join(names, ", ")));
      result.push_back({row.text, *label, row.pair});
    }
    for (const std::string& note : notes(*reader)) fmt::print(stderr, "{}: {}\n", data, note);
    return result;
  }

  void run() {
    common.apply();
    const TextClassifier classifier = load_model(model);
    classifier.model->to(common.place());
    for (const std::string& note : classifier.notes) fmt::print(stderr, "{}\n", note);
    tell_of_pairs(classifier, model, !read.pair_column.empty(), "--pair-column");
    const TokenizedSplit split =
        tokenize(classifier.tokenizer, examples(classifier.label_names), classifier.max_length);
    const Evaluation result = evaluate(*classifier.model, split);
    if (!std::isfinite(result.loss))
      fail_at_run_time("the loss is {}; the weights of {} are damaged", result.loss, model);
    if (common.json) {
      Json json = result.to_json();
      json["texts"] = split.size();
      json["classes"] = scores_of_classes(result, classifier.label_names);
      return fmt::print("{}\n", json.dump());
    }
    fmt::print("{} texts: accuracy {:.2f} %, macro-F1 {:.2f} %, MCC {:.3f}, loss {:.4f}\n\n{}",
               split.size(), 100 * result.accuracy(), 100 * result.macro_f1(), result.score("mcc"),
               result.loss, table(result, classifier.label_names));
  }
};

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("eval", "evaluate a model directory on a file of labelled texts");
  verb.footer(
      "--json: accuracy, macro_f1, mcc, positive_f1 (of two classes, the second's), loss, texts;\n"
      "confusion, a row for each class of the texts, in it how many were taken for each class; "
      "and\n"
      "classes, in the same order: name, precision, recall, f1, support (its texts).");
  const auto options = std::make_shared<EvalVerb>();
  verb.add_option("model,--model", options->model, "model directory")->required();
  verb.add_option("data", options->data, "a .tsv, .csv or .jsonl file")->required();
  add_read_options(verb, options->read);
  options->common.add_device(verb);
  verb.add_option("--threads", options->common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--json", options->common.json,
                "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
