/// metrics.jsonl: a line of JSON for what is trained, and for each step, evaluation, alarm and change of the optimizer,
/// written as it happens, so that a run can be watched and loses nothing when it is cut off.
///
///     {"run": {"optimizer", "options", "seed", …}}
///     {"step", "epoch", "loss", "lr_factor", "grad_norm", "clipped", "ms", "texts", "tokens", "tensors"?}
///     {"epoch", "step", "train_loss", "dev", "seconds"}     {"alarm"}     {"switch"}     {"best_epoch", "test"}
#pragma once

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "optim/optimizer.hpp"
#include "train/metrics.hpp"

namespace minima {

/// One optimizer step.
struct StepRecord {
  i64 step, epoch;  ///< from 1
  double loss, lr_factor, grad_norm;
  bool clipped;         ///< by its norm
  double milliseconds;  ///< batches, forward, backward and update
  i64 texts, tokens;
  std::vector<TensorReport> tensors;  ///< where it was watched
  bool skipped = false;               ///< the loss or the gradient was not finite
  double scale = 1;                   ///< of the loss in backward
};

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
  std::string lines = {};  ///< all of these, as they stand in the file
};
/// Of its first `bytes` bytes, or what is there of them. What is no whole line of MetricsLog's is left out: the last one
/// may be cut off where the program was, others may be damaged.
LoggedRecords read_metrics(const std::filesystem::path& path,
                           u64 bytes = std::numeric_limits<u64>::max());

/// An evaluation without its confusion matrix.
Json to_json(const EvaluationRecord& evaluation);

/// Six digits: enough to look at, and a third of the file.
double rounded(double x);

}  // namespace minima
