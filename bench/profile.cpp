/// Where a training step's time goes, op by op, beside what the machine can do at most.
///
///     profile DATA_DIRECTORY VOCABULARY|MODEL_DIRECTORY [dim layers heads hidden batch threads [steps]]
///
/// Prints a Markdown table. Columns: milliseconds of a step, forward and backward; the share of the step; arithmetic, and as
/// a share of the peak (of registers alone); traffic, each operand and result counted once, and as a
/// share of the memory's bandwidth. Products are bound by the first, all else by the second; above
/// 100 % of the bandwidth the cache helped. `gradients` adds up where a value was used twice.
#include <chrono>
#include <map>

#include "autograd/observer.hpp"
#include "bench/training.hpp"
#include "optim/clip.hpp"
#include "train/machine.hpp"

using namespace minima;

namespace {

struct Line {
  double forward = 0, backward = 0;  ///< seconds
  double flop = 0, bytes = 0;
};

class Profile {
 public:
  void begin(const Batch& batch) {
    tokens_ = batch.tokens.size();
    pairs_ = 0;
    for (i64 b = 0; b < batch.texts(); ++b) {
      const i64* offset = batch.offsets.data<i64>() + b;
      pairs_ += static_cast<double>((offset[1] - offset[0]) * (offset[1] - offset[0]));
    }
  }

  void observe(const OpEvent& event) {
    const double seconds = lap();
    if (event.kind == OpEvent::Kind::gradients) {
      lines["gradients"].backward += seconds;
      return;
    }
    const bool forward = event.kind == OpEvent::Kind::forward;
    Line& line = lines[name(event)];
    (forward ? line.forward : line.backward) += seconds;
    line.flop += flop(event, forward);
    line.bytes += bytes(event, forward);
  }
  void stage(const std::string& name, double bytes) {
    Line& line = lines[name];
    line.forward += lap();
    line.bytes += bytes;
  }
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

  std::map<std::string, Line> lines;

 private:
  static bool is_product(const OpEvent& event) {
    return event.op == "linear" || event.op == "feed_forward" || event.op == "projected_attention";
  }

  /// Whether all tokens take part, not one for each text.
  bool all(const OpEvent& event) const {
    return event.result.rank() > 1 && event.result[0] == tokens_;
  }
  std::string name(const OpEvent& event) const {
    std::string name(event.op);
    if (event.op == "linear") name += fmt::format(" {}→{}", event.inputs[1][1], event.inputs[1][0]);
    return name + (is_product(event) && !all(event) ? ", a row a text" : "");
  }

  /// 2·rows·size for a product with a matrix; backward has two, dx = dy w and dw = dyᵀ x.
  double flop(const OpEvent& event, bool forward) const {
    const double products = forward ? 2 : event.inputs[0].size() ? 4 : 2;
    const double rows = static_cast<double>(event.result.rows());
    const auto weights = [&](std::initializer_list<std::size_t> which) {
      double sum = 0;
      for (std::size_t i : which) sum += static_cast<double>(event.inputs[i].size());
      return sum;
    };
    // q kᵀ, P v; and in backward q kᵀ, dy vᵀ, dv, dq, dk
    const auto attention = [&] {
      return (forward ? 4 : 10) * static_cast<double>(event.result[1]) *
             (all(event) ? pairs_ : static_cast<double>(tokens_));
    };
    if (event.op == "linear") return products * rows * weights({1});
    if (event.op == "feed_forward") return products * rows * weights({1, 3});
    if (event.op == "attention") return attention();
    if (event.op == "projected_attention")
      return products * (rows * weights({2}) + static_cast<double>(tokens_) * weights({4, 6})) +
             attention();
    return 0;
  }

  /// Forward reads the inputs and writes the result; backward reads both and writes gradients.
  static double bytes(const OpEvent& event, bool forward) {
    i64 inputs = 0;
    for (const Shape& input : event.inputs) inputs += input.size();
    if (event.op == "embedding") inputs = event.result.size();  // the rows that are looked up
    return 4 * static_cast<double>(event.result.size() + (forward ? 1 : 2) * inputs);
  }

  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  i64 tokens_ = 0;
  double pairs_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
  bench::TrainingJob::Arguments arguments;
  i64 steps = 30;
  CLI::App app("Where a training step's time goes, op by op.");
  arguments.add_to(app);
  bench::add_number(app, "steps", steps);
  CLI11_PARSE(app, argc, argv);
  bench::TrainingJob job(arguments);
  const double peak = 1e9 * measure_peak_gflops(threads()), bandwidth = 1e9 * measure_bandwidth();

  Profile profile;
  const auto step = [&] {
    profile.lap();
    const Batch batch = job.next_batch();
    profile.begin(batch);
    profile.stage("next batch", 0);
    const Observed observed([&](const OpEvent& event) { profile.observe(event); });
    job.forward(batch).backward();
    double gradients = 0, moved = 0;  // a row whose state is zero is left alone
    for (const Parameter* parameter : job.parameters) {
      if (!parameter->gradient) continue;
      gradients += 4 * static_cast<double>(parameter->gradient.values().size());
      moved += 24 * static_cast<double>(parameter->value.size());
    }
    profile.lap();
    StepOptions options = job.step_options();
    options.gradient_scale = clip_factor(global_norm(job.parameters), options.clip_norm);
    options.clip_norm = 0;
    profile.stage("norm of the gradients", gradients);
    job.optimizer.step(options);
    profile.stage("optimizer", gradients + moved);
    job.clear_gradients();
    profile.stage("release", 0);
    return batch.tokens.size();
  };
  for (int i = 0; i < 10; ++i) step();
  profile.lines.clear();
  i64 tokens = 0;
  const MemoryStats before = memory_stats();
  for (i64 i = 0; i < steps; ++i) tokens += step();
  const i64 allocations = memory_stats().allocations - before.allocations;

  std::vector<std::pair<std::string, Line>> lines(profile.lines.begin(), profile.lines.end());
  std::ranges::sort(lines, std::greater(),
                    [](const auto& line) { return line.second.forward + line.second.backward; });
  Line all;
  for (const auto& [name, line] : lines) {
    all.forward += line.forward;
    all.backward += line.backward;
    all.flop += line.flop;
    all.bytes += line.bytes;
  }
  lines.emplace_back("step", all);
  const double n = static_cast<double>(steps);
  fmt::print("{:.0f} tokens a step; peak {:.0f} GFLOP/s, memory {:.1f} GB/s; {} allocations\n\n",
             static_cast<double>(tokens) / n, peak / 1e9, bandwidth / 1e9, allocations);
  fmt::print("| {:<38} | {:>8} | {:>8} | {:>6} | {:>8} | {:>6} | {:>8} | {:>6} |\n", "ms of a step",
             "forward", "backward", "share", "GFLOP", "peak", "MB", "memory");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  for (const auto& [name, line] : lines) {
    const double seconds = line.forward + line.backward;
    const auto share = [&](double x) { return x > 0 ? fmt::format("{:.0f} %", 100 * x) : "–"; };
    const auto amount = [](double x) { return x > 0 ? fmt::format("{:.2f}", x) : "–"; };
    fmt::print("| {:<38} | {:>8.2f} | {:>8.2f} | {:>6} | {:>8} | {:>6} | {:>8.1f} | {:>6} |\n",
               name, 1000 * line.forward / n, 1000 * line.backward / n,
               share(seconds / (all.forward + all.backward)), amount(line.flop / n / 1e9),
               share(line.flop / seconds / peak), line.bytes / n / 1e6,
               share(line.bytes / seconds / bandwidth));
  }
} catch (const Error& error) {
  fmt::print(stderr, "profile: {}\n", error.what());
  return 2;
}
