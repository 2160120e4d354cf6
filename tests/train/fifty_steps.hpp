/// A short training in which all happens that a checkpoint must know of, and what it leaves behind.
#pragma once

#include <fstream>
#include <set>

#include "core/files/json.hpp"
#include "tests/support.hpp"
#include "tests/train/small_task.hpp"

namespace minima::test {

/// 50 steps of 4 batches of 5 texts: an epoch has 20 batches, 5 steps, and the last batch one text.
inline TrainingOptions fifty_steps() {
  TrainingOptions options{.epochs = 10, .batch = BatchSize::of_texts(5), .accumulate = 4};
  options.schedule = "plateau:patience=0";
  options.save_every = 0;
  options.watch = 10;
  return options;
}

/// All that a training leaves behind.
struct Outcome {
  std::vector<float> weights, state;
  std::vector<std::string> metrics;  ///< the lines, without times
  std::string best;
};

inline std::vector<std::string> metrics_of(const std::filesystem::path& folder) {
  std::vector<std::string> all;
  std::ifstream lines(folder / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    Json json = parse_json(line, "metrics");
    json.erase("ms");
    json.erase("seconds");
    all.push_back(json.dump());
  }
  return all;
}

struct Training {
  explicit Training(const TrainingOptions& options, const std::filesystem::path& folder,
                    const std::string& spec = "adamw8bit:lr=1e-2:min_8bit_size=64")
      : model(small_task().config),
        optimizer((model.initialize(options.seed),
                   make_optimizer(spec, parameter_groups(model.parameters(), spec, options)))),
        trainer(classification(model, small_task().data, options, &small_task().tokenizer),
                optimizer, options, folder),
        folder(folder) {
    if (!folder.empty()) std::filesystem::create_directories(folder);
  }

  Outcome outcome(const TrainingResult& result) const {
    Outcome outcome{values_of(const_cast<nn::Classifier&>(model).parameters()), {}, {}, ""};
    for (const NamedTensor& slot : optimizer.tensors()) {
      const Tensor values = slot.tensor.to(DType::f32);
      std::ranges::copy(values.span<float>(), std::back_inserter(outcome.state));
    }
    outcome.metrics = metrics_of(folder);
    if (result.best)
      outcome.best = fmt::format("{} {}", *result.best, result.best_dev.to_json().dump());
    return outcome;
  }

  nn::Classifier model;
  Optimizer optimizer;
  Trainer trainer;
  std::filesystem::path folder;
};

inline void check_equal(const Outcome& a, const Outcome& b) {
  CHECK(a.weights == b.weights);
  CHECK(a.state == b.state);
  CHECK(a.metrics == b.metrics);
  CHECK(a.best == b.best);
}

inline std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

}  // namespace minima::test
