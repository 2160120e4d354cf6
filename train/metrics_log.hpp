/// metrics.jsonl: a line of JSON for each step, evaluation, alarm and change of the optimizer, written as it
/// happens, so that a run can be watched and loses nothing when it is cut off.
///
///     {"step", "epoch", "loss", "lr_factor", "grad_norm", "clipped", "ms", "texts", "tokens", "tensors"?}
///     {"epoch", "step", "train_loss", "dev", "seconds"}     {"alarm"}     {"switch"}     {"best_epoch", "test"}
#pragma once

#include "core/file.hpp"
#include "train/accelerator.hpp"

namespace minima {

/// One evaluation.
struct EvaluationRecord {
  i64 epoch, step;    ///< the epoch it fell into, from 1; steps taken
  double train_loss;  ///< mean over what was trained on since the last one
  Evaluation dev;
  double seconds;  ///< since training began
};

class MetricsLog {
 public:
  /// Cuts the file off after `keep` bytes and goes on from there.
  explicit MetricsLog(const std::filesystem::path& path, u64 keep = 0) : file_(path, keep) {}
  void write(const Json& line) { file_.append(line.dump() + "\n"); }
  void write(const StepRecord& step);
  void write(const EvaluationRecord& evaluation);
  /// The bytes so far, all of which are on the disk by then.
  u64 flush() { return file_.flush(); }

 private:
  AppendFile file_;
};

/// What a log holds; tensors' values as rounded there.
struct LoggedRecords {
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
  std::vector<Json> others;
};
/// Of its first `bytes` bytes. Throws Error, naming file and line, for one that was not written by MetricsLog.
LoggedRecords read_metrics(const std::filesystem::path& path, u64 bytes);

/// An evaluation without its confusion matrix.
Json to_json(const EvaluationRecord& evaluation);

/// Six digits: enough to look at, and a third of the file.
double rounded(double x);

}  // namespace minima
