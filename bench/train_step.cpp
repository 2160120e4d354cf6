/// The training step of the README's speed claim, for bench/speed.py and bench/gpu_check.py to alternate with
/// PyTorch's (bench/serve.hpp): answers each line `run N` with one about N further steps, and `limits` with one about what
/// this machine can do at most.
///
///     train_step DATA_DIRECTORY VOCABULARY|MODEL_DIRECTORY [dim layers heads hidden batch threads [precision [round_tokens]]]
///
/// A step is what the Trainer's is: the Accelerator's, over the batches and the loss of `minima train`. Precision and
/// round_tokens (0) are those of `minima train`. The rate rises during the first 100 steps; no tensor is watched.
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "bench/serve.hpp"
#include "bench/training.hpp"
#include "core/buffer.hpp"
#include "train/accelerator.hpp"

using namespace minima;

namespace {

/// The process's largest resident size so far, in MB of 2^20 bytes. (getrusage would count the one that has started it, too.)
double peak_rss_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

class Steps {
 public:
  Steps(bench::TrainingJob& job, Precision precision, i64 round_tokens)
      : job_(job),
        objective_(classification(job.model, job.data,
                                  {.batch = job.batch_size(), .round_tokens = round_tokens})),
        accelerator_({.schedule = "constant",
                      .warmup = 100 / static_cast<double>(kMost),
                      .watch = 0,
                      .precision = precision}) {
    accelerator_.prepare(objective_.parameters, job.optimizer, objective_.batches, kMost);
  }

  Json run(i64 count) {
    std::vector<double> milliseconds;
    i64 texts = 0, tokens = 0;
    double loss = 0, operations = 0;
    for (; count > 0; --count) {
      const Stopwatch clock;
      const StepRecord record = step();
      bench::finish(bench::device());
      milliseconds.push_back(1000 * clock.seconds());
      texts += record.texts;
      tokens += record.tokens;
      loss = record.loss;
      operations += job_.operations(accelerator_.indices());
    }
    const double seconds = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0) / 1000;
    return {
        {"engine", "minima"},
        {"median_ms", median(milliseconds)},
        {"sentences_per_s", static_cast<double>(texts) / seconds},
        {"tokens_per_s", static_cast<double>(tokens) / seconds},
        {"gflops", 1e-9 * operations / seconds},
        {"loss", loss},
        {"peak_rss_mb", peak_rss_mb()},
        {"peak_device_mb", static_cast<double>(memory_stats(bench::device()).peak) / (1 << 20)}};
  }

 private:
  static constexpr i64 kMost = 1 << 20;

  StepRecord step() {
    check(accelerator_.next(), "after {} steps there is none", kMost);
    const nn::Pass pass = accelerator_.pass();
    const BatchLoss batch = objective_.loss(accelerator_.indices(), pass);
    accelerator_.backward(batch.loss, batch.weight, batch.tokens);
    if (const auto* next = accelerator_.upcoming()) {
      nn::Pass after = pass;
      ++after.step;
      objective_.ahead(*next, after);
    }
    accelerator_.clip(1);
    return accelerator_.step();
  }

  bench::TrainingJob& job_;
  Objective objective_;
  Accelerator accelerator_;
};

}  // namespace

int main(int argc, char** argv) try {
  bench::TrainingJob::Arguments arguments;
  std::map<std::string, Precision> precisions;
  for (const std::string_view name : choices(Precision{}))
    precisions.emplace(name, static_cast<Precision>(precisions.size()));
  Precision precision = Precision::fp32;
  i64 round_tokens = 0;
  CLI::App app("Training steps: answers the lines `run N` and `limits`.");
  arguments.add_to(app);
  app.add_option("precision", precision)->transform(CLI::CheckedTransformer(precisions));
  bench::add_number(app, "round_tokens", round_tokens, i64{0});
  CLI11_PARSE(app, argc, argv);
  bench::TrainingJob job(arguments);
  Steps steps(job, precision, round_tokens);
  bench::serve([&](const std::string& line) -> Json {
    if (line == "limits") return bench::limits();
    std::istringstream words(line);
    std::string word;
    i64 count = 0;
    check(words >> word >> count && word == "run" && count > 0,
          "unknown line '{}'; known: run N, limits, quit", line);
    return steps.run(count);
  });
} catch (const Error& error) {
  fmt::print(stderr, "train_step: {}\n", error.what());
  return 2;
}
