/// minima predict: labels lines from standard input.
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "data/readers/lines.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

/// Lines, and bytes of them, that are gathered before they are answered: few enough that a stream is
/// answered as it comes and takes little memory, many enough to keep all cores busy. They are packed
/// into batches by their tokens.
constexpr std::size_t kLines = 256, kBytes = 1 << 18;

struct PredictVerb {
  CommonOptions common;
  std::string model;
  bool pairs = false;

  i64 answered = 0;  // lines

  /// The next line; false at the end.
  bool read(Lines& input, Example& example) const {
    if (!input.next()) return false;
    example = {std::string(input.line()), 0};
    if (!pairs) return true;
    const auto [first, second] = pair_of("predict", input);
    example = {std::string(first), 0, std::string(second)};
    return true;
  }

  void answer(const TextClassifier& classifier, const std::vector<Example>& lines) {
    const TokenizedSplit split = tokenize(classifier.tokenizer, lines, classifier.max_length);
    const Tensor logits = predict(*classifier.model, split);
    const i64 labels = classifier.model->config.labels;
    for (i64 i = 0; i < split.size(); ++i) {
      const float* row = logits.data<float>() + i * labels;
      ++answered;
      if (!std::all_of(row, row + labels, [](float logit) { return std::isfinite(logit); }))
        fail_at_run_time("line {}: a logit is not finite; the weights of {} are damaged", answered,
                         model);
      const i64 best = std::max_element(row, row + labels) - row;
      const std::string& name = classifier.label_names[static_cast<std::size_t>(best)];
      if (!common.json) {
        fmt::print("{}\n", for_output(name));
        continue;
      }
      double sum = 0;
      for (i64 label = 0; label < labels; ++label)
        sum += std::exp(static_cast<double>(row[label] - row[best]));
      Json probabilities = Json::object();
      for (i64 label = 0; label < labels; ++label)
        probabilities[classifier.label_names[static_cast<std::size_t>(label)]] =
            std::exp(static_cast<double>(row[label] - row[best])) / sum;
      fmt::print("{}\n", Json{{"label", name}, {"probabilities", std::move(probabilities)}}.dump());
    }
    if (std::fflush(stdout) != 0)
      fail_at_run_time("standard output cannot be written: {}", std::strerror(errno));
  }

  void run() {
    common.apply();
    const TextClassifier classifier = load_model(model);
    classifier.model->to(common.place());
    for (const std::string& note : classifier.notes) print_note("{}\n", note);
    tell_of_pairs(classifier, model, pairs, "--pairs, text<TAB>text");
    Lines input = Lines::of_stream(STDIN_FILENO, "standard input");
    std::vector<Example> lines;
    std::size_t bytes = 0;
    const auto answer_all = [&] {
      if (!lines.empty()) answer(classifier, std::exchange(lines, {}));
      bytes = 0;
    };
    try {
      for (Example line; read(input, line);) {
        bytes += input.line().size();
        lines.push_back(std::move(line));
        if (lines.size() == kLines || bytes >= kBytes || !input.ready()) answer_all();
      }
    } catch (const Error&) {
      answer_all();  // what came before a bad line
      throw;
    }
    answer_all();
  }
};

}  // namespace

void add_predict(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("predict", "label the lines of standard input");
  verb.footer("A line has at most a megabyte (2^20 bytes).");
  const auto options = std::make_shared<PredictVerb>();
  verb.add_option("model,--model", options->model, "model directory")->required();
  options->common.add_device(verb);
  verb.add_option("--threads", options->common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--pairs", options->pairs, "each line is a pair: text<TAB>text");
  verb.add_flag("--json", options->common.json, "a JSON document a line, with probabilities");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
