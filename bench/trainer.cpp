/// What the Trainer costs beside the work of its steps: the same steps on the same batches, taken in three ways.
///
///     bench_trainer [rounds [steps [model]]]
///
///     bare          make_batch, forward, backward, step of the optimizer with clipping
///     accelerator   a loop of one's own around the Accelerator, which watches, and logs to metrics.jsonl
///     trainer       the Trainer: also event files for TensorBoard, a callback, and checkpoints when they are due
///
/// They take turns, so that whatever else the machine does meets all of them alike: milliseconds of a step in the round
/// that was least disturbed, and as a multiple of the bare loop's. All must end with the same weights, to the bit.
/// Last come the shares of time that the Trainer tells of itself, as run.json has them ("time").
#include <unistd.h>

#include <limits>

#include "autograd/functions.hpp"
#include "bench/arguments.hpp"
#include "train/run.hpp"

using namespace minima;

namespace {

constexpr const char* kSpec = "adamw:lr=0.001";

class Contest {
 public:
  Contest(i64 steps, const std::string& model)
      : task_(prepare([&] {
          TaskOptions options;
          options.model = model;
          return options;
        }())),
        batches_(shuffled(task_.data.train, BatchSize::of_texts(32), 1)) {
    options_.steps = steps;
    options_.schedule = "constant";
    options_.warmup = 0;
  }

  ~Contest() { std::filesystem::remove_all(folder_); }
  Contest(const Contest&) = delete;
  Contest& operator=(const Contest&) = delete;

  /// Seconds of all steps.
  double bare() {
    begin();
    const Stopwatch clock;
    i64 step = 0;
    for (i64 epoch = 0; step < options_.steps; ++epoch)
      for (const std::vector<i64>& indices : batches_(epoch)) {
        if (step == options_.steps) break;
        const Batch batch = make_batch(task_.data.train, indices);
        const nn::Pass pass{.training = true, .seed = 1, .step = ++step};
        cross_entropy((*model_)(batch, pass), batch.labels).backward();
        optimizer_->step({.clip_norm = 1});
        for (Parameter* parameter : model_->parameters()) parameter->gradient.clear();
      }
    return clock.seconds();
  }

  double accelerator() {
    begin();
    Accelerator accelerator({.schedule = "constant", .warmup = 0});
    accelerator.prepare(model_->parameters(), *optimizer_, batches_, options_.steps);
    const Stopwatch clock;
    accelerator.log_to(folder());
    while (accelerator.next()) {
      const Batch batch = make_batch(task_.data.train, accelerator.indices());
      const Variable loss = cross_entropy((*model_)(batch, accelerator.pass()), batch.labels);
      accelerator.backward(loss, static_cast<double>(batch.texts()), batch.tokens.size());
      accelerator.clip(1);
      accelerator.step();
    }
    return clock.seconds();
  }

  double trainer() {
    begin();
    Objective objective = classification(*model_, task_.data, options_);
    objective.evaluate = nullptr;  // it has no part in a step
    Trainer trainer(objective, *optimizer_, options_, folder());
    double last = 0;
    trainer.callbacks.push_back(
        {.step = [&](const StepRecord& record, i64) { last = record.loss; }});
    const Stopwatch clock;
    time_ = trainer.run().time;
    return clock.seconds();
  }

  std::vector<float> weights() const {
    std::vector<float> all;
    for (const Parameter* parameter : model_->parameters())
      std::ranges::copy(parameter->value.span<float>(), std::back_inserter(all));
    return all;
  }
  const Json& time() const { return time_; }

 private:
  void begin() {
    model_ = task_.new_model(1);
    optimizer_.emplace(
        make_optimizer(kSpec, parameter_groups(model_->parameters(), kSpec, options_)));
  }
  /// Empty.
  const std::filesystem::path& folder() const {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    return folder_;
  }

  Task task_;
  Batches batches_;
  TrainingOptions options_;
  std::unique_ptr<nn::Classifier> model_;
  std::optional<Optimizer> optimizer_;
  Json time_;
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("minima-bench-{}", ::getpid());
};

}  // namespace

int main(int argc, char** argv) try {
  i64 rounds = 7, steps = 60;
  std::string model = "small";
  CLI::App app("What the Trainer costs beside the work of its steps.");
  bench::add_number(app, "rounds", rounds);
  bench::add_number(app, "steps", steps);
  app.add_option("model", model, "as in minima train --model")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  Contest contest(steps, model);
  struct Way {
    const char* name;
    double (Contest::*run)();
    double milliseconds = std::numeric_limits<double>::infinity();
  };
  std::vector<Way> ways{{"bare", &Contest::bare},
                        {"accelerator", &Contest::accelerator},
                        {"trainer", &Contest::trainer}};
  std::vector<float> weights;
  for (i64 round = -1; round < rounds; ++round)  // the first warms up
    for (Way& way : ways) {
      const double milliseconds = 1000 * (contest.*way.run)() / static_cast<double>(steps);
      if (weights.empty()) weights = contest.weights();
      check(weights == contest.weights(), "{}: other weights than the bare loop's", way.name);
      if (round >= 0) way.milliseconds = std::min(way.milliseconds, milliseconds);
    }
  for (const Way& way : ways)
    fmt::print("{:<12} {:8.3f} ms a step  {:6.4f} times the bare loop\n", way.name,
               way.milliseconds, way.milliseconds / ways[0].milliseconds);
  const Json& time = contest.time();
  for (const char* part : {"steps", "evaluation", "logging", "checkpoints", "loop"})
    fmt::print("{:<12} {:8.4f} %\n", part, 100 * time.at(part).get<double>());
} catch (const Error& error) {
  fmt::print(stderr, "bench_trainer: {}\n", error.what());
  return 2;
}
