/// minima predict: labels lines from standard input.
#include <cmath>
#include <iostream>

#include "examples/minima/options.hpp"
#include "examples/minima/verbs.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

/// Lines that are classified together: few enough that a stream is answered as it comes, many
/// enough to be fast.
constexpr std::size_t kLines = 64;

struct PredictVerb {
  CommonOptions common;
  std::string model;

  void answer(const TextClassifier& classifier, const std::vector<Example>& lines) const {
    const TokenizedSplit split =
        tokenize(classifier.tokenizer, lines, classifier.model->config.positions);
    const Tensor logits = predict(*classifier.model, split);
    const i64 labels = classifier.model->config.labels;
    for (i64 i = 0; i < split.size(); ++i) {
      const float* row = logits.data<float>() + i * labels;
      const i64 best = std::max_element(row, row + labels) - row;
      const std::string& name = classifier.label_names[static_cast<std::size_t>(best)];
      if (!common.json) {
        fmt::print("{}\n", name);
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
    std::fflush(stdout);
  }

  void run() const {
    common.apply();
    const TextClassifier classifier = load_model(model);
    std::ios::sync_with_stdio(false);  // else in_avail cannot tell whether more lines wait
    std::vector<Example> lines;
    for (std::string line; std::getline(std::cin, line);) {
      if (line.ends_with('\r')) line.pop_back();
      lines.push_back({std::move(line), 0});
      if (lines.size() == kLines || std::cin.rdbuf()->in_avail() <= 0) {
        answer(classifier, lines);
        lines.clear();
      }
    }
    if (std::cin.bad()) fail_at_run_time("predict: standard input cannot be read");
    if (!lines.empty()) answer(classifier, lines);
  }
};

}  // namespace

void add_predict(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("predict", "label the lines of standard input");
  const auto options = std::make_shared<PredictVerb>();
  verb.add_option("model", options->model, "model directory")->required();
  verb.add_option("--threads", options->common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--json", options->common.json, "a JSON document a line, with probabilities");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
