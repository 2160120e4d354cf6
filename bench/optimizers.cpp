/// How long one step of each optimizer takes on DistilBERT-base-cased (104 tensors, 65.8 M parameters), beside the limit
/// that the memory sets: the bytes that a step must read and write, at the measured bandwidth.
///
///     bench_optimizers [rounds] [optimizer …]
///
/// Optimizers take turns, so that whatever else the machine does meets all of them alike; medians over rounds. Prints a
/// table and a JSON line. bench/peer_optimizers.py measures PyTorch's on the same shapes.
#include <chrono>

#include "core/cpu/threads.hpp"
#include "core/rng.hpp"
#include "nn/models/distilbert.hpp"
#include "optim/optimizer.hpp"
#include "train/machine.hpp"
#include "train/metrics.hpp"

using namespace minima;

int main(int argc, char** argv) try {
  const int rounds = argc > 1 ? std::stoi(argv[1]) : 9;
  std::vector<std::string> names(argv + std::min(argc, 2), argv + argc);
  if (names.empty()) names = {"sgd:momentum=0.9", "adamw", "adamw8bit", "adafactor", "lion"};

  nn::DistilBertConfig config = nn::preset("distilbert-base");
  config.vocabulary = 28996;
  nn::DistilBertClassifier model(config);
  model.initialize(1);
  const std::vector<Parameter*> parameters = model.parameters();
  for (Parameter* parameter : parameters) {
    Tensor gradient = Tensor::empty(parameter->value.shape());
    RandomSequence random(2, parameter->name);
    for (float& g : gradient.span<float>())
      g = static_cast<float>(1e-3 * (2 * random.uniform() - 1));
    parameter->gradient = gradient;
  }

  std::vector<Optimizer> optimizers;
  for (const std::string& name : names)
    optimizers.push_back(make_optimizer(name, decay_groups(parameters)));
  std::vector<std::vector<double>> milliseconds(names.size());
  for (int round = -1; round < rounds;
       ++round) {  // the first touches the state's memory and does not count
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      optimizers[i].step({.lr_factor = 1e-3});
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      if (round >= 0) milliseconds[i].push_back(took.count());
    }
  }

  const double bandwidth = measure_bandwidth(),
               count = static_cast<double>(model.parameter_count());
  Json result = {{"threads", threads()},
                 {"bandwidth_gb_s", bandwidth},
                 {"parameters", count},
                 {"optimizers", Json::array()}};
  fmt::print("{:<20} {:>12} {:>9} {:>9} {:>9} {:>9}\n", "optimizer", "state MB", "ms", "limit ms",
             "of limit", "ns/param");
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double state = static_cast<double>(optimizers[i].state_bytes());
    const double bytes =
        count * 12 + 2 * state;  // read g, read and write p, read and write the state
    const double ms = median(milliseconds[i]), limit = bytes / bandwidth / 1e6;
    fmt::print("{:<20} {:>12.1f} {:>9.2f} {:>9.2f} {:>8.0f}% {:>9.3f}\n", names[i],
               state / (1 << 20), ms, limit, 100 * limit / ms, ms * 1e6 / count);
    result["optimizers"].push_back(
        {{"name", names[i]}, {"state_bytes", state}, {"ms", ms}, {"limit_ms", limit}});
  }
  fmt::print("bandwidth (a += s*b): {:.1f} GB/s, {} threads\n{}\n", bandwidth, threads(),
             result.dump());
} catch (const Error& error) {
  fmt::print(stderr, "bench_optimizers: {}\n", error.what());
  return 2;
}
