/// The training step of the README's speed claim, for bench/compare_pytorch.py to alternate with
/// PyTorch's: prints "ready", then answers each line `run N` on standard input with one JSON line
/// about N further steps.
///
///     train_step DATA_DIRECTORY VOCABULARY [dim layers heads hidden batch threads]
#include <sys/resource.h>

#include <chrono>
#include <iostream>
#include <numeric>

#include "autograd/functions.hpp"
#include "core/cpu/threads.hpp"
#include "data/dataset.hpp"
#include "train/classification.hpp"

using namespace minima;

namespace {

/// The process's largest resident size so far, in MB of 2^20 bytes.
double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) try {
  check(argc >= 3,
        "usage: train_step DATA_DIRECTORY VOCABULARY [dim layers heads hidden batch threads]");
  const auto number = [&](int i, i64 fallback) {
    return argc > i ? std::stoll(argv[i]) : fallback;
  };
  nn::EncoderConfig config = nn::preset("distilbert-base");
  config.dim = number(3, 256);
  config.layers = number(4, 4);
  config.heads = number(5, 4);
  config.hidden = number(6, 1024);
  config.classifier_dropout = 0.1;
  const i64 batch_size = number(7, 32);
  set_threads(static_cast<int>(number(8, 2)));

  const Tokenizer tokenizer(Vocabulary::read(argv[2]), Casing::uncased);
  const Dataset dataset = load_dataset(argv[1], 1);
  const TokenizedSplit split = tokenize(tokenizer, dataset.train, 128);
  config.vocabulary = tokenizer.vocabulary().size();
  config.labels = static_cast<i64>(dataset.label_names.size());

  nn::Classifier model(config);
  model.initialize(1);
  Optimizer optimizer = make_optimizer("adamw:lr=5e-4", decay_groups(model.parameters()));
  i64 epoch = -1, step = 0;
  std::vector<std::vector<i64>> batches;
  std::size_t next = 0;
  fmt::print("ready\n");
  std::fflush(stdout);

  for (std::string line; std::getline(std::cin, line) && line.rfind("run ", 0) == 0;) {
    std::vector<double> milliseconds;
    i64 texts = 0, tokens = 0;
    double loss_value = 0;
    for (i64 n = std::stoll(line.substr(4)); n > 0; --n) {
      if (next == batches.size()) {
        batches = epoch_batches(split, BatchSize::of_texts(batch_size), 1, ++epoch);
        next = 0;
      }
      const auto start = std::chrono::steady_clock::now();
      const Batch batch = make_batch(split, batches[next++]);
      const Variable loss =
          cross_entropy(model(batch, {.training = true, .seed = 1, .step = ++step}), batch.labels);
      loss.backward();
      optimizer.step({.lr_factor = std::min(1.0, static_cast<double>(step) / 100), .clip_norm = 1});
      for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
      milliseconds.push_back(
          1000 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      texts += batch.texts();
      tokens += batch.tokens.size();
      loss_value = loss.value().item();
    }
    const double seconds = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0) / 1000;
    const Json result = {{"engine", "minima"},
                         {"median_ms", median(milliseconds)},
                         {"sentences_per_s", static_cast<double>(texts) / seconds},
                         {"tokens_per_s", static_cast<double>(tokens) / seconds},
                         {"loss", loss_value},
                         {"peak_rss_mb", peak_rss_mb()}};
    fmt::print("{}\n", result.dump());
    std::fflush(stdout);
  }
} catch (const Error& error) {
  fmt::print(stderr, "train_step: {}\n", error.what());
  return 2;
}
