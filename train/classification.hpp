/// Classification of texts as an Objective: cross-entropy in training; accuracy, F1 and loss on dev.
#pragma once

#include "nn/models/classifier.hpp"
#include "train/splits.hpp"
#include "train/trainer.hpp"

namespace minima {

struct TrainingData {
  TokenizedSplit train, dev, test;
};

/// Trains on data.train, evaluates on data.dev. Both must outlive it. `tokenizer` goes into checkpoints, which are
/// then model directories; without one they hold the weights alone. options.word_dropout needs it.
Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer = nullptr);

/// Logits [texts, labels] of every text of a split, without recording.
Tensor predict(const nn::Classifier& model, const TokenizedSplit& split);

/// Accuracy, F1 and loss of those logits.
Evaluation evaluate(const nn::Classifier& model, const TokenizedSplit& split);
Evaluation evaluate(const Tensor& logits, const TokenizedSplit& split);

}  // namespace minima
