/// The main job: the same model, from the same initial weights, on the same batches, trained once
/// per optimizer and seed.
#pragma once

#include "train/run.hpp"

namespace minima {

/// What compare throws where Ctrl-C has stopped it, and the run that it was at is saved.
struct Interrupted : Error {
  explicit Interrupted(const std::string& message) : Error(message, Fault::runtime) {}
};

struct ComparisonOptions {
  /// Specs, see make_optimizer.
  std::vector<std::string> optimizers = {"adamw", "adafactor", "adamw8bit"};
  i64 seeds = 1;  ///< runs with training.seed, +1, …
  /// Learning rates that each optimizer is tried with, the same number for all: its own, and others by factors of √10
  /// around it. Compared are then the best of each by training.metric on dev, mean over seeds. 1: its own alone.
  i64 rates = 1;
  TrainingOptions training;
  std::filesystem::path directory;  ///< of the runs and the report; empty: nothing is written
  /// Take the runs that `directory` has finished as they are, and go on with the one that was interrupted, and with those
  /// whose time was up where training.minutes are more by now.
  bool resume = false;
  Json arguments = nullptr;  ///< of the program, for run.json: what --resume starts with
};

struct ComparisonObserver {
  std::function<void(const std::string& spec, u64 seed)> begin;
  Callback training;
};

/// The specs of options.optimizers with what with_defaults adds. Throws Error for none, an unknown or wrong one, two that are
/// the same with all their options, or no seeds.
std::vector<std::string> resolved_specs(const ComparisonOptions& options);

/// The frame of a report: {"data", "model", "training", "machine", "runs": [], "failed": []}.
Json describe_comparison(const Task& task, const TrainingOptions& training, i64 seeds);
/// Writes report.html and comparison.json, and the former's path as "report".
void write_report(Json& comparison, const std::filesystem::path& directory);

/// Returns {"data", "model", "training", "machine", "runs": [Run::record, …], "failed": [{"spec", "seed", "error", "tried"? (true: at one of the rates of tuning), and of others, as far as they came, what a run's record has}, …],
/// "tuning"?: [{"spec" (the best), "metric", "tried": [{"spec", "score" (null where a run failed, or is not finite)}], "spread"}], "report"}; writes run.json, a folder per run, and
/// report.html and comparison.json, which before the end have the runs so far, and in "unfinished": [{"spec", "seed"}, …]
/// the others. Optimizers are checked before anything is trained; a run that fails (its loss stops being a number, its device has no memory for it) leaves the others as they are. Throws Error when all fail, and (run time) when
/// the disk refuses, or when interrupted (InterruptRequests): then the folder can be resumed.
Json compare(const Task& task, const ComparisonOptions& options,
             const ComparisonObserver& observer = {});

/// The specs of those of which a run failed, or with which tuning had no score at any rate; each once.
std::vector<std::string> failed_optimizers(const Json& comparison);

/// The runs of a comparison as a table: one line per optimizer, mean ± deviation over seeds; "failed" for one without a run.
/// Below it what collect_runs has found to differ, an option a line.
std::string comparison_table(const Json& comparison);

}  // namespace minima
