/// minima predict: labels the lines of standard input, or the texts of a file.
#include <unistd.h>

#include "core/text/utf8.hpp"
#include "data/counted.hpp"
#include "data/readers/notes.hpp"
#include "data/texts.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"
#include "train/predictions.hpp"

namespace minima {
namespace {

/// So many lines are gathered before they are answered, and packed into batches by their tokens: at first few, so that
/// answers come soon, then many, for only the last of their batches is not full.
constexpr std::size_t kFewLines = 256, kManyLines = 1024;
/// Where they are long, fewer: bytes for each line.
constexpr std::size_t kBytes = 1024;

/// Texts one after another, from lines or rows.
class TextSource {
 public:
  /// Lines of standard input, or of a file of plain text; `pairs`: text<TAB>text.
  TextSource(Lines lines, bool pairs) : lines_(std::move(lines)), pairs_(pairs) {}
  explicit TextSource(std::unique_ptr<RowReader> rows) : rows_(std::move(rows)) {}

  /// The next text, and the line that it begins in; false at the end. Throws BadRow for a line that is none, and stands
  /// behind it.
  bool next(Example& example, i64& line) {
    if (rows_) {
      Row row;
      if (!rows_->next(row)) return false;
      example = {std::move(row.text), 0, std::move(row.pair)};
      line = row.line;
      return true;
    }
    if (!lines_->next()) return false;
    line = lines_->number();
    example = {std::string(lines_->line()), 0};
    if (!pairs_) return true;
    const auto [first, second] = pair_of(*lines_);
    example = {std::string(first), 0, std::string(second)};
    return true;
  }
  /// Whether next() will return without waiting, but for a moment.
  bool ready() { return rows_ || lines_->ready(std::chrono::microseconds(300)); }
  const Lines* lines() const { return lines_ ? &*lines_ : nullptr; }  ///< null: rows
  std::vector<std::string> notes() const {
    return rows_ ? minima::notes(*rows_) : std::vector<std::string>();
  }

 private:
  std::optional<Lines> lines_;
  std::unique_ptr<RowReader> rows_;
  bool pairs_ = false;
};

/// Says so where standard input's first line looks like a table's header.
void tell_of_header(std::string_view line) {
  for (const char delimiter : {',', ';', '\t'})
    if (is_header(line, delimiter, ReadOptions().text_column))
      print_note(
          "standard input is texts, a line each, and its first, '{}', looks like a table's "
          "header; a table is given by its name, without <\n",
          shown(line));
}

struct PredictVerb {
  CommonOptions common;
  std::string model, data;
  ReadOptions read;
  bool pairs = false;

  i64 answered = 0;
  i64 cut = 0;
  i64 bad_lines = 0;
  std::string first_bad;
  PoorTexts poor;

  TextSource source() const {
    if (data.empty()) {
      ReadOptions of_lines;
      of_lines.skip_bad_rows = read.skip_bad_rows;
      check(read == of_lines,
            "predict: --text-column, --pair-column, --no-header, --delimiter and --plain-text are "
            "for a file; standard input is lines (--pairs: text<TAB>text)");
      return {Lines::of_stream(STDIN_FILENO, "standard input"), pairs};
    }
    if (is_plain_text(data, read)) return {open_plain_text(data, read), pairs};
    check(!pairs, "predict: --pairs is for lines; name the column of second texts: --pair-column");
    return TextSource(open_unlabelled_rows(data, read));
  }

  void answer(const TextClassifier& classifier, const std::vector<Example>& texts,
              const std::vector<i64>& lines) {
    const TokenizedSplit split = tokenize(classifier.tokenizer, texts, classifier.max_length);
    const Tensor logits = predict(*classifier.model, split);
    const i64 labels = classifier.model->config.labels;
    cut += split.cut;
    for (i64 i = 0; i < split.size(); ++i) {
      const float* row = logits.data<float>() + i * labels;
      const i64 line = lines[static_cast<std::size_t>(i)];
      ++answered;
      if (!std::all_of(row, row + labels, [](float logit) { return std::isfinite(logit); }))
        fail_at_run_time("line {}: a logit is not finite; the weights of {} are damaged", line,
                         model);
      poor.add(classifier.tokenizer, split, i, texts[static_cast<std::size_t>(i)], line);
      const i64 best = std::max_element(row, row + labels) - row;
      const std::string& name = classifier.label_names[static_cast<std::size_t>(best)];
      if (!common.json) {
        fmt::print("{}\n", for_output(name));
        continue;
      }
      const std::vector<double> p = probabilities(row, labels);
      Json::object_t by_name;  // behind one another: Json's [] would search all names for each
      for (std::size_t label = 0; label < p.size(); ++label)
        by_name.emplace_back(classifier.label_names[label], p[label]);
      Json document = {{"label", name}, {"probabilities", std::move(by_name)}};
      if (!data.empty()) document["line"] = line;
      fmt::print("{}\n", document.dump());
    }
    flush_output();
  }

  /// What bad line `line` gets in place of a label, so that answers keep the order of lines.
  void answer(const BadRow& bad, i64 line) {
    Json document = {{"error", bad.what()}};
    if (!data.empty()) document["line"] = line;
    fmt::print("{}\n", common.json ? document.dump() : "");
    flush_output();
    if (bad_lines++ == 0) first_bad = bad.what();
  }

  void run() {
    common.apply();
    if (data == "-") data.clear();
    const TextClassifier classifier = load_model(model);
    classifier.model->to(common.place());
    for (const std::string& note : classifier.notes) print_note("{}\n", note);
    tell_of_pairs(classifier, model, pairs || !read.pair_column.empty(),
                  data.empty() ? "--pairs, text<TAB>text" : "--pair-column");
    TextSource input = source();
    std::vector<Example> texts;
    std::vector<i64> lines;
    std::size_t bytes = 0, together = kFewLines;
    const auto answer_all = [&] {  // once, also where answering fails
      bytes = 0, together = kManyLines;
      if (!texts.empty()) answer(classifier, std::exchange(texts, {}), std::exchange(lines, {}));
    };
    i64 line = 0;
    for (Example text;;) try {
        if (!input.next(text, line)) break;
        if (data.empty() && line == 1) tell_of_header(input.lines()->line());
        bytes += text.text.size() + text.pair.size();
        texts.push_back(std::move(text)), lines.push_back(line);
        if (texts.size() == together || bytes >= together * kBytes || !input.ready()) answer_all();
      } catch (const Error& error) {
        answer_all();  // what came before
        const auto* const bad = dynamic_cast<const BadRow*>(&error);
        const Lines* const source = input.lines();
        if (!bad || !source) throw;
        check(read.skip_bad_rows, "{}; --skip-bad-rows gives such a line an empty answer",
              bad->what());
        answer(*bad, source->number());
      }
    answer_all();
    if (bad_lines > 0)
      print_note("{} without a label, the first: {}\n", counted(bad_lines, "bad line"), first_bad);
    for (const std::string& note : input.notes()) print_note("{}: {}\n", data, note);
    tell_of_cut(cut, answered, "texts", classifier.max_length);
    poor.tell(answered);
  }
};

}  // namespace

void add_predict(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("predict", "label the lines of standard input, or the texts of a file");
  verb.footer(
      "A label a line, in the order of the texts; --json: label, probabilities and, of a file, the "
      "line that the\n"
      "text begins in. --skip-bad-rows leaves out bad rows of a table; a bad line gets an empty "
      "answer,\n"
      "or {\"error\": …}. A line has at most a megabyte (2^20 bytes).");
  const auto options = std::make_shared<PredictVerb>();
  verb.add_option("model,--model", options->model, "model directory (or --model DIR)")->required();
  verb.add_option("data", options->data,
                  "a .txt, .tsv, .csv or .jsonl file (default, or -: standard input)");
  add_read_options(verb, options->read, Texts::plain);
  options->common.add_device(verb);
  verb.add_option("--threads", options->common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--pairs", options->pairs, "each line is a pair: text<TAB>text");
  verb.add_flag("--json", options->common.json, "a JSON document a line, with probabilities");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
