/// Options that several verbs share.
#pragma once

#include <CLI/CLI.hpp>

#include "train/compare.hpp"

namespace minima {

/// --seed, --threads, --json, --out.
struct CommonOptions {
  u64 seed = 1;
  int threads = 0;  ///< 0: all cores
  bool json = false;
  std::string out;

  void add_to(CLI::App& verb);
  /// Sets the threads and loads OpenBLAS. Throws Error for a number of threads out of range, and
  /// where OpenBLAS cannot be loaded.
  void apply() const;
};

/// What is trained on what, and how: --data, --model, --epochs, --batch, …
struct TrainingVerbOptions {
  TaskOptions task;
  TrainingOptions training;
  std::optional<i64> epochs;
  i64 batch = 0, tokens = 0;
  std::string pooling;
  bool cased = false, lazy_rows = false;
  std::vector<std::string> groups;

  void add_to(CLI::App& verb);
  /// The options as `prepare` and `train` take them. Throws Error for a mix that makes no sense.
  void resolve(const CommonOptions& common);
  /// `spec` with the learning rate that suits it, and with --lazy-rows.
  std::string resolve_spec(const std::string& spec) const;
  /// Loads the task, and chooses the number of epochs by its size where none was given.
  Task load();
};

/// The folder of a run: --out, or runs/<verb>-<date>-<time>.
std::filesystem::path run_directory(const std::string& verb, const CommonOptions& common);

/// Shows how a run goes on, on standard error: a bar that is rewritten on a terminal, a line per
/// epoch elsewhere; alarms and changes of the optimizer.
class Progress {
 public:
  Progress();
  void begin(const std::string& what);
  Callback callback();

 private:
  void step(const StepRecord& record, i64 total);
  void evaluation(const EvaluationRecord& record);
  void say(const std::string& text);  ///< on lines of its own
  bool terminal_;
  std::string what_;
  double started_ = 0, drawn_ = 0;
};

}  // namespace minima
