/// What was recorded of a training, as reports read it.
#pragma once

#include <filesystem>
#include <span>

#include "train/metrics_log.hpp"

namespace minima {

/// {"step_ms" (median), "tokens_per_second", "train_loss", "grad_norm", "lr_factor", "clipped" (each step's), "skipped"
/// (steps), "clipped_share", "watched": {"steps", "tensors": [{"name", "ratio", "step_size", "update_clipped"}]},
/// "epochs" (evaluations)}.
Json describe_training(std::span<const StepRecord> steps,
                       std::span<const EvaluationRecord> evaluations);

/// A comparison of one run, from its metrics.jsonl (and run.json, where it has one) alone: of a loop of one's own, of a
/// training that was interrupted, or of one that still goes on. Has what was logged by then. Damaged lines are left out,
/// as is a damaged run.json. Throws Error where the log has no step.
Json describe_log(const std::filesystem::path& run);

}  // namespace minima
