/// Masked-language-model pre-training as an Objective: an encoder learns from plain text to tell the
/// tokens that were hidden from it (data/masking.hpp).
#pragma once

#include "data/masking.hpp"
#include "nn/models/masked_lm.hpp"
#include "train/training_options.hpp"

namespace minima {

struct PretrainingData {
  TokenizedSplit train, dev;
};

/// Trains on data.train; the evaluation on data.dev hides the same tokens every time. All of it must
/// outlive the objective. `tokenizer` goes into checkpoints. Throws Error where no token of the training texts may be hidden,
/// as where all words are [UNK]; where that is so of data.dev, nothing is evaluated.
Objective masked_language_modelling(nn::MaskedLm& model, const PretrainingData& data,
                                    const Masking& masking, const TrainingOptions& options,
                                    const Tokenizer* tokenizer = nullptr);

/// The loss at the hidden tokens, of which each text with words has at least one; in `extra` "accuracy", the share of them that
/// the model predicts correctly, and "perplexity", e^loss.
Evaluation evaluate(const nn::MaskedLm& model, const TokenizedSplit& split, const Masking& masking);

}  // namespace minima
