/// Objectives whose loss is that of batches made on the host.
///
/// For a GPU a batch is brought there as a whole, beside the work on the one before; and where batches are filled up to
/// repeating shapes, forward and backward of one that has come before are replayed (nn/replayed_loss.hpp).
#pragma once

#include "nn/replayed_loss.hpp"
#include "train/objective.hpp"

namespace minima {

/// Gives a batch on the host; its labels are what the mean of the loss is over.
using MakeBatch = std::function<Batch(std::span<const i64> indices, const nn::Pass& pass)>;

/// An objective of these parameters, which must outlive it; its `loss` and `ahead` are set. `round_tokens` as in
/// TrainingOptions.
Objective batched_objective(std::vector<Parameter*> parameters, MakeBatch make,
                            nn::ReplayedLoss::Function loss, i64 round_tokens);

}  // namespace minima
