/// What every task makes of tokenized texts: batches for training and evaluation, and a fingerprint.
#pragma once

#include "data/batcher.hpp"
#include "train/objective.hpp"

namespace minima {

/// The batches of a split in an order shuffled by (seed, epoch). The split must outlive them.
Batches shuffled(const TokenizedSplit& split, BatchSize size, u64 seed);

/// How much an evaluation holds at once: enough to keep the cores busy, little enough to stay in
/// cache; never less than the longest text.
BatchSize evaluation_batch(const TokenizedSplit& split);

/// Of every token, length and label.
std::string fingerprint(const TokenizedSplit& split);

/// Throws Error, naming the parts, where `then`, an object as `now`, has other ones.
void check_unchanged(const Fingerprints& now, const Json& then);

}  // namespace minima
