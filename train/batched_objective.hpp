/// Objectives whose loss is that of batches made on the host.
///
/// For a GPU a batch is brought there as a whole, beside the work on the one before; and where batches are filled up to
/// repeating shapes, forward and backward of one that has come before are replayed (nn/replayed_loss.hpp).
#pragma once

#include "nn/replayed_loss.hpp"
#include "train/objective.hpp"

namespace minima {

/// Gives a batch on the host.
using MakeBatch = std::function<Batch(std::span<const i64> indices, const nn::Pass& pass)>;
/// What a batch's loss is the mean over: BatchLoss::weight.
using WeighBatch = std::function<double(const Batch& batch)>;
/// Its labels. One of which nothing counts has the loss 0, and counts as one.
double label_count(const Batch& batch);

/// An objective of these parameters, which must outlive it; its `loss` and `ahead` are set. `round_tokens` as in
/// TrainingOptions.
Objective batched_objective(std::vector<Parameter*> parameters, MakeBatch make,
                            nn::ReplayedLoss::Function loss, i64 round_tokens,
                            WeighBatch weigh = label_count);

}  // namespace minima
