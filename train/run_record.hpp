/// What was recorded of a training, as reports read it.
#pragma once

#include <filesystem>

#include "train/metrics_log.hpp"

namespace minima {

/// {"step_ms" (median), "tokens_per_second" (null where none were counted), "train_loss", "grad_norm", "lr_factor",
/// "clipped" (each step's; null of one that the log has lost), "skipped" (steps), "first_skipped" (a step, or null),
/// "clipped_share", "watched": {"steps", "tensors": [{"name", "ratio", "step_size", "update_clipped"}]}, "epochs"
/// (evaluations), "alarms", "switches"}.
Json describe_training(const TrainingRecords& records);

/// A comparison of one run, from its metrics.jsonl alone (and run.json, where it has one): of a loop of one's own, of a
/// training that was interrupted or failed, or of one that still goes on. It has what was logged so far, and
///
///     "unfinished": [{"spec", "seed"}]      where steps are missing
///     "failed"      in place of "runs"      where the run failed; with its "error"
///     "damaged": [{"file", "lines"}]        where lines were damaged, which are left out, as is a damaged part of run.json
///
/// A run that only a log tells of is an "own_loop": what its loss measures is not known. Of a comparison's run that has ended
/// it is all of its record.json. Throws Error where the log tells of no step and no failure.
Json describe_log(const std::filesystem::path& run);

}  // namespace minima
