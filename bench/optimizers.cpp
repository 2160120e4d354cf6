/// How long one step of each optimizer takes on DistilBERT-base-cased (104 tensors, 65.8 M
/// parameters), beside the limit that the memory sets: the bytes that a step must read and write,
/// at the measured bandwidth.
///
///     bench_optimizers [rounds] [optimizer …]
///     bench_optimizers --serve        for bench/compare_optimizers.py, which takes turns with
///                                     PyTorch's: answers `list`, `bandwidth`, `run NAME N`
///
/// Optimizers take turns, so that whatever else the machine does meets all of them alike; medians
/// over rounds. `to adamw` is the median of each round's ratio; `clip` what clipping by the norm
/// adds; `temporary` the most that a step allocates for its own use. Prints a table and a JSON line.
#include <map>
#include <sstream>

#include "bench/arguments.hpp"
#include "bench/device.hpp"
#include "bench/serve.hpp"
#include "core/buffer.hpp"
#include "core/code_map.hpp"
#include "core/cpu/simd.hpp"
#include "core/rng.hpp"
#include "nn/models/classifier.hpp"
#include "optim/optimizer.hpp"
#include "train/metrics.hpp"

using namespace minima;

namespace {

const std::vector<std::string> kNames{"adamw",     "sgd:momentum=0.9", "lion", "adamw8bit",
                                      "adafactor", "adafactor-torch",  "came", "adapm"};

class Bench {
 public:
  Bench() : model_(config()) {
    model_.initialize(1);
    model_.to(device_);
    for (Parameter* parameter : model_.parameters()) {
      Tensor gradient = Tensor::empty(parameter->value.shape());
      RandomSequence random(2, parameter->name);
      for (float& g : gradient.span<float>())
        g = static_cast<float>(1e-3 * (2 * random.uniform() - 1));
      parameter->gradient = gradient.to(device_);
    }
  }

  /// Made at its first use; its first step, which touches the state's memory, is not timed.
  Optimizer& optimizer(const std::string& name) {
    auto found = made_.find(name);
    if (found == made_.end()) {
      found = made_.emplace(name, make_optimizer(name, decay_groups(model_.parameters()))).first;
      step(name);
    }
    return found->second;
  }

  /// Milliseconds of one step, of several that are queued one behind the other.
  double step(const std::string& name, double clip_norm = 0, int count = 1) {
    Optimizer& stepped = optimizer(name);
    bench::finish(device_);
    const Stopwatch taken;
    for (int k = 0; k < count; ++k) stepped.step({.lr_factor = 1e-3, .clip_norm = clip_norm});
    bench::finish(device_);
    return 1000 * taken.seconds() / count;
  }

  i64 temporary_bytes(const std::string& name) {
    optimizer(name);
    reset_peak_memory(device_);
    const i64 before = memory_stats(device_).live;
    step(name);
    return memory_stats(device_).peak - before;
  }

  double parameters() { return static_cast<double>(model_.parameter_count()); }

  /// Reads the gradient, reads and writes the weights and the state.
  double least_bytes(const std::string& name) {
    return 12 * parameters() + 2 * static_cast<double>(optimizer(name).state_bytes());
  }

  Json about(const std::string& name) {
    return {{"engine", "minima"},
            {"optimizer", name},
            {"vector_unit", minima::name(vector_unit())},
            {"threads", threads()},
            {"parameters", parameters()},
            {"state_bytes", optimizer(name).state_bytes()},
            {"least_bytes", least_bytes(name)},
            {"temporary_bytes", temporary_bytes(name)}};
  }

 private:
  static nn::EncoderConfig config() {
    nn::EncoderConfig config = nn::preset("distilbert-base");
    config.vocabulary = 28996;
    return config;
  }

  const Device device_ = bench::device();
  nn::Classifier model_;
  std::map<std::string, Optimizer> made_;
};

Json answer(Bench& bench, const std::string& line) {
  std::istringstream words(line);
  std::string word, name;
  int steps = 0;
  words >> word;
  if (word == "list") return kNames;
  if (word == "bandwidth") return {{"gb_s", bench::bandwidth()}};
  check(word == "run" && (words >> name >> steps) && steps > 0,
        "unknown line '{}'; known: list, bandwidth, run NAME N, quit", line);
  Json result = bench.about(name);
  std::vector<double> milliseconds;
  if (bench::device() == Device{})
    for (int k = 0; k < steps; ++k) milliseconds.push_back(bench.step(name));
  else  // as behind a backward pass, where a GPU does not wait for the host
    milliseconds.push_back(bench.step(name, 0, steps));
  result["median_ms"] = median(milliseconds);
  result["ms"] = milliseconds;
  return result;
}

void table(Bench& bench, int rounds, const std::vector<std::string>& names) {
  std::map<std::string, std::vector<double>> plain, clipped, to_adamw;
  for (int round = 0; round < rounds; ++round) {
    const double adamw = bench.step("adamw");
    for (const std::string& name : names) {
      plain[name].push_back(name == "adamw" ? adamw : bench.step(name));
      clipped[name].push_back(bench.step(name, 1e9));
      to_adamw[name].push_back(plain[name].back() / adamw);
    }
  }
  const double bandwidth = bench::bandwidth();
  Json result = {{"threads", threads()},
                 {"vector_unit", name(vector_unit())},
                 {"bandwidth_gb_s", bandwidth},
                 {"optimizers", Json::array()}};
  fmt::print("{:<18} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>13}\n", "optimizer", "state MB",
             "ms", "limit ms", "of limit", "ns/param", "to adamw", "clip ms", "temporary MB");
  for (const std::string& name : names) {
    Json row = bench.about(name);
    const double ms = median(plain[name]), limit = bench.least_bytes(name) / bandwidth / 1e6;
    const double clip = median(clipped[name]) - ms, ratio = median(to_adamw[name]);
    fmt::print("{:<18} {:>9.1f} {:>8.2f} {:>9.2f} {:>8.0f}% {:>9.3f} {:>9.2f} {:>9.2f} {:>13.2f}\n",
               name, row["state_bytes"].get<double>() / (1 << 20), ms, limit, 100 * limit / ms,
               ms * 1e6 / bench.parameters(), ratio, clip,
               row["temporary_bytes"].get<double>() / (1 << 20));
    row.update({{"ms", ms}, {"limit_ms", limit}, {"to_adamw", ratio}, {"clip_ms", clip}});
    result["optimizers"].push_back(row);
  }
  fmt::print(
      "bandwidth: {:.1f} GB/s, {} threads, {}, 8-bit loops in {}; one read of the gradients: "
      "{:.2f} "
      "ms\n{}\n",
      bandwidth, threads(), name(vector_unit()), block8::loops().name,
      4 * bench.parameters() / bandwidth / 1e6, result.dump());
}

}  // namespace

int main(int argc, char** argv) try {
  int rounds = 9;
  std::vector<std::string> names = kNames;
  bool served = false;
  int thread_count = threads();
  CLI::App app("How long one step of each optimizer takes on DistilBERT-base-cased.");
  bench::add_number(app, "rounds", rounds);
  app.add_option("optimizers", names, "as in minima train --optimizer")->capture_default_str();
  app.add_flag("--serve", served, "answer the lines `list`, `bandwidth` and `run NAME N`");
  bench::add_number(app, "--threads", thread_count, 1, 1024);
  CLI11_PARSE(app, argc, argv);
  set_threads(thread_count);
  Bench bench;
  if (served)
    bench::serve([&](const std::string& line) { return answer(bench, line); });
  else
    table(bench, rounds, names);
} catch (const Error& error) {
  fmt::print(stderr, "bench_optimizers: {}\n", error.what());
  return 2;
}
