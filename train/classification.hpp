/// Classification of texts as an Objective: cross-entropy in training; accuracy, F1 and loss on dev.
#pragma once

#include "nn/models/classifier.hpp"
#include "train/splits.hpp"
#include "train/training_options.hpp"

namespace minima {

struct TrainingData {
  TokenizedSplit train, dev, test;
};

/// Trains on data.train, evaluates on data.dev. Both must outlive it. `tokenizer` goes into checkpoints, which are
/// then model directories; without one they hold the weights alone. options.word_dropout needs it. The model is brought to
/// its device before.
Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer = nullptr);

/// Of the three splits.
Fingerprints fingerprints(const TrainingData& data);

/// How much a class counts in training's loss, by "balanced": n / (C n_c), where n_c of n texts are of class c, so that all
/// classes together count alike (one without texts counts 0); or by a number for each class, "1,2.5,1"; empty where `text` is: all
/// count 1. Throws Error for anything else, and for a text of another class than these.
std::vector<double> class_weights(const std::string& text, const TokenizedSplit& train, i64 labels);

/// Logits [texts, labels] of every text of a split, without recording.
Tensor predict(const nn::Classifier& model, const TokenizedSplit& split);

/// Accuracy, F1 and loss of those logits. Throws Error where the split has other texts or labels than these have.
Evaluation evaluate(const nn::Classifier& model, const TokenizedSplit& split);
Evaluation evaluate(const Tensor& logits, const TokenizedSplit& split);

}  // namespace minima
