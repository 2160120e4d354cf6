/// Masked-language-model pre-training as an Objective: an encoder learns from plain text to tell the
/// tokens that were hidden from it (data/masking.hpp).
#pragma once

#include "data/masking.hpp"
#include "nn/models/masked_lm.hpp"
#include "train/trainer.hpp"

namespace minima {

struct PretrainingData {
  TokenizedSplit train, dev;
};

/// Trains on data.train; the evaluation on data.dev hides the same tokens every time. All of it must
/// outlive the objective. `tokenizer` goes into checkpoints.
Objective masked_language_modelling(nn::MaskedLm& model, const PretrainingData& data,
                                    const Masking& masking, const TrainingOptions& options,
                                    const Tokenizer* tokenizer = nullptr);

/// The loss at the hidden tokens, and of `extra` "accuracy", the share that the model tells rightly,
/// and "perplexity", e^loss.
Evaluation evaluate(const nn::MaskedLm& model, const TokenizedSplit& split, const Masking& masking);

/// Texts without labels: of a .txt file every line that is not empty, of another file the texts of its
/// rows; 5 in a hundred of them, drawn by `seed`, as dev (at most 2,000). Of all else what
/// load_dataset yields. Throws Error, naming file and line, for what is not UTF-8 or breaks a rule of
/// its format, and for a file without two texts.
Dataset load_texts(const std::string& spec, u64 seed, const ReadOptions& read = {});

/// The same texts with those of more than `max_length` tokens ([CLS] and [SEP] counted) cut into as
/// many as it takes: nothing of a long line is lost.
TokenizedSplit in_pieces(const TokenizedSplit& split, i64 max_length);

}  // namespace minima
