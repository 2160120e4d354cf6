/// metrics.jsonl: a line of JSON for what is trained, and for each step, evaluation, alarm and change of the optimizer,
/// written as it happens, so that a run can be watched and loses nothing when it is cut off.
///
///     {"run": {"optimizer", "options", "seed", …}}
///     {"step", "epoch", "loss", "lr_factor", "grad_norm", "clipped", "ms", "texts", "tokens", "skipped"?, "scale"?, "tensors"?}
///     {"epoch", "step", "train_loss", "dev", "seconds"}     {"alarm"}     {"switch"}     {"best_epoch"?, "test"}
///     {"failed": {"step" (steps taken), "error"}}
///
/// Lines with none of the keys that tell these apart are the caller's.
#pragma once

#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/files/file.hpp"
#include "train/metrics.hpp"
#include "train/switch.hpp"
#include "train/watch.hpp"

namespace minima {

/// One optimizer step.
struct StepRecord {
  i64 step, epoch;                    ///< from 1
  double loss, lr_factor, grad_norm;  ///< the second is 1 where the optimizer takes no schedule
  bool clipped;                       ///< by its norm
  double milliseconds;                ///< batches, forward, backward and update
  i64 texts, tokens;
  std::vector<TensorReport> tensors;  ///< where it was watched
  bool skipped = false;               ///< the loss or the gradient was not finite
  double scale = 1;                   ///< of the loss in backward
};

/// One evaluation.
struct EvaluationRecord {
  i64 epoch, step;    ///< the epoch it fell into, from 1; steps taken
  double train_loss;  ///< mean over what was trained on since the last one
  Evaluation dev;     ///< in the records of a training without its confusion matrix
  double seconds;     ///< since training began
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

/// What happened in a training.
struct TrainingRecords {
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
  std::vector<Alarm> alarms;
  std::vector<SwitchRecord> switches;
};

/// What a log holds; tensors' values as rounded there.
struct LoggedRecords : TrainingRecords {
  Json run = Json::object();  ///< what is trained; empty where that line is lost
  std::optional<Evaluation> test = {};
  std::optional<i64> best_epoch = {};      ///< whose weights were tested
  std::optional<std::string> failed = {};  ///< why training did
  std::string lines = {};                  ///< all that was read, as it stands in the file
  i64 damaged = 0;                         ///< lines that are left out
};
/// What the first `bytes` bytes of a log hold, as far as they are there. Left out are steps, evaluations, alarms and a failure
/// after the first `steps` steps, which those bytes have where the log has lost lines before them. A line that is no JSON
/// object, or has a key of the log's own lines but not their form, is damaged: it is left out and counted. A last line without
/// an end, in which the program was cut off, is left out and not counted.
LoggedRecords read_metrics(const std::filesystem::path& path,
                           u64 bytes = std::numeric_limits<u64>::max(),
                           i64 steps = std::numeric_limits<i64>::max());

/// Throws Error for a line of a caller's that the log would take for one of its own: for all but an object without the
/// keys of these. The caller may tell "test", as Evaluation::to_json gives it, and with it "best_epoch".
void check_callers_line(const Json& line);

/// An evaluation without its confusion matrix.
Json to_json(const EvaluationRecord& evaluation);

/// Six digits: enough to look at, and a third of the file.
double rounded(double x);
/// Each of its values, as a log has them: a report of a run has then the same digits whether or not it was resumed.
TensorReport rounded(TensorReport tensor);

}  // namespace minima
