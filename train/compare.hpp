/// The main job: the same model, from the same initial weights, on the same batches, trained once
/// per optimizer and seed.
#pragma once

#include "train/run.hpp"

namespace minima {

/// What compare throws when Ctrl-C has stopped it and the run at hand is saved.
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
  /// Take the runs that `directory` has finished as they are, and go on with the one that was interrupted and, where
  /// training.minutes are more by now, with those whose time was up.
  bool resume = false;
  Json arguments = nullptr;  ///< of the program, for run.json: what --resume starts with
};

struct ComparisonObserver {
  std::function<void(const std::string& spec, u64 seed)> begin;
  Callback training;
};

/// The specs of options.optimizers with what with_defaults adds. Throws Error where there is none, an unknown or wrong one, or
/// two with the same options, and for no seeds.
std::vector<std::string> resolved_specs(const ComparisonOptions& options);

/// The frame of a report: {"data", "model", "training", "machine", "runs": [], "failed": []}.
Json describe_comparison(const Task& task, const TrainingOptions& training, i64 seeds);
/// Writes report.html and comparison.json, and the former's path as "report".
void write_report(Json& comparison, const std::filesystem::path& directory);

/// Trains every run and returns
///
///     {"data", "model", "training", "machine", "report",
///      "runs": [Run::record, …],
///      "failed": [{"spec", "seed", "error", "tried"?: true where it was at one of the rates of tuning; else, as far as it
///                  came, what a run's record has}, …],
///      "tuning"?: [{"spec" (the best), "metric", "spread", "tried": [{"spec", "score"}, …]}]}
///
/// where a score is null if a run failed or it is not finite. Writes run.json, a folder per run, and report.html and
/// comparison.json, which before the end have the runs so far, and the others in "unfinished": [{"spec", "seed"}, …].
/// Optimizers are checked before anything is trained; a run that fails (its loss stops being a number, its device has no
/// memory for it) leaves the others as they are. Throws Error when all fail, and (run time) when the disk refuses, or when
/// interrupted (InterruptRequests): then the folder can be resumed.
Json compare(const Task& task, const ComparisonOptions& options,
             const ComparisonObserver& observer = {});

/// The specs with a failed run, and those that tuning had no score for at any rate; each once.
std::vector<std::string> failed_optimizers(const Json& comparison);

/// The runs of a comparison as a table: one line per optimizer, mean ± deviation over seeds, or "failed" where no run
/// succeeded. Below it what collect_runs has found to differ, an option a line.
std::string comparison_table(const Json& comparison);

}  // namespace minima
