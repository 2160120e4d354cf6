/// The training step of the README's speed claim, for bench/compare_pytorch.py to alternate with
/// PyTorch's: prints "ready", then answers each line `run N` on standard input with one JSON line
/// about N further steps, and `limits` with one about what this machine can do at most.
///
///     train_step DATA_DIRECTORY VOCABULARY [dim layers heads hidden batch threads]
#include <sys/resource.h>

#include <chrono>
#include <iostream>
#include <numeric>

#include "bench/training.hpp"
#include "core/buffer.hpp"
#include "train/metrics.hpp"

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
  check(argc >= 3, "usage: train_step {}", bench::TrainingJob::kArguments);
  bench::TrainingJob job(argc, argv);
  fmt::print("ready\n");
  std::fflush(stdout);

  for (std::string line; std::getline(std::cin, line);) {
    if (line == "limits") {
      fmt::print("{}\n", bench::limits().dump());
      std::fflush(stdout);
      continue;
    }
    if (!line.starts_with("run ")) break;
    std::vector<double> milliseconds;
    i64 texts = 0, tokens = 0;
    double loss_value = 0;
    for (i64 n = std::stoll(line.substr(4)); n > 0; --n) {
      const auto start = std::chrono::steady_clock::now();
      const Batch batch = job.next_batch();
      const Variable loss = job.forward(batch);
      loss.backward();
      job.optimizer.step(job.step_options());
      job.clear_gradients();
      loss_value = loss.value().item();
      bench::finish(bench::device());
      milliseconds.push_back(
          1000 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      texts += batch.texts();
      tokens += batch.tokens.size();
    }
    const double seconds = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0) / 1000;
    const Json result = {
        {"engine", "minima"},
        {"median_ms", median(milliseconds)},
        {"sentences_per_s", static_cast<double>(texts) / seconds},
        {"tokens_per_s", static_cast<double>(tokens) / seconds},
        {"loss", loss_value},
        {"peak_rss_mb", peak_rss_mb()},
        {"peak_device_mb", static_cast<double>(memory_stats(bench::device()).peak) / (1 << 20)}};
    fmt::print("{}\n", result.dump());
    std::fflush(stdout);
  }
} catch (const Error& error) {
  fmt::print(stderr, "train_step: {}\n", error.what());
  return 2;
}
