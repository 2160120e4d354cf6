/// A task and a folder for tests of whole trainings.
#pragma once

#include <unistd.h>

#include "train/run.hpp"

namespace minima::test {

/// A part of the built-in texts and a very small model with dropout.
inline const Task& small_task() {
  static const Task task = [] {
    TaskOptions options;
    options.data = "builtin";
    options.model = "tiny";
    options.dim = 16;
    options.layers = 2;
    options.hidden = 24;
    options.max_length = 24;
    Task whole = prepare(options);
    whole.dataset.train.resize(96);
    whole.dataset.dev.resize(40);
    whole.dataset.test.resize(40);
    whole.data = {tokenize(whole.tokenizer, whole.dataset.train, 24),
                  tokenize(whole.tokenizer, whole.dataset.dev, 24),
                  tokenize(whole.tokenizer, whole.dataset.test, 24)};
    return whole;
  }();
  return task;
}

inline TrainingOptions short_training() { return {.epochs = 2, .batch = BatchSize::of_texts(16)}; }

inline std::vector<float> values_of(const std::vector<Parameter*>& parameters) {
  std::vector<float> all;
  for (const Parameter* parameter : parameters)
    std::ranges::copy(parameter->value.span<float>(), std::back_inserter(all));
  return all;
}

/// A folder that goes with the test; in memory where there is such a place, for checkpoints are flushed often.
class RunFolder {
 public:
  RunFolder()
      : path((std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                  : std::filesystem::temp_directory_path()) /
             fmt::format("minima-train-{}-{}", ::getpid(), count()++)) {}
  ~RunFolder() { std::filesystem::remove_all(path); }
  const std::filesystem::path path;

 private:
  static int& count() {
    static int n = 0;
    return n;
  }
};

}  // namespace minima::test
