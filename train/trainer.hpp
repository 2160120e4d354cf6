/// The training loop, and evaluation.
///
///     Optimizer optimizer = make_optimizer("adamw:lr=5e-4", decay_groups(model.parameters()));
///     TrainingResult result = train(model, optimizer, data, {.epochs = 5});
///     result.test.accuracy();                       // of the epoch that was best on dev
#pragma once

#include <functional>
#include <vector>

#include "data/batcher.hpp"
#include "nn/models/distilbert.hpp"
#include "optim/optimizer.hpp"
#include "train/metrics.hpp"

namespace minima {

struct TrainingData {
  TokenizedSplit train, dev, test;
};

struct TrainingOptions {
  i64 epochs = 5;
  BatchSize batch = BatchSize::of_texts(32);
  std::string schedule = "linear";  ///< see optim/schedule.hpp
  double warmup = 0.1;              ///< share of all steps over which the learning rate rises
  double clip_norm = 1;             ///< 0: not clipped
  u64 seed = 1;                     ///< of the order of texts and of dropout
};

/// Throws Error for epochs, a batch, a warm-up or a schedule that make no sense.
void validate(const TrainingOptions& options);

/// One optimizer step.
struct StepRecord {
  i64 step, epoch;  ///< from 1
  double loss, lr_factor, grad_norm;
  double milliseconds;  ///< batch, forward, backward and update
  i64 texts, tokens;
};

/// One epoch, with its evaluation.
struct EpochRecord {
  i64 epoch, step;
  double train_loss;  ///< mean over the epoch's texts, as they were trained on
  Evaluation dev;
  double seconds;  ///< since training began
};

struct TrainingResult {
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  /// Of the highest accuracy on dev (of equals, the lower loss); the model is left with its weights.
  i64 best_epoch;
  Evaluation dev, test;  ///< of that epoch
  double seconds;
};

/// Called while training goes on; either may be empty.
struct TrainingObserver {
  std::function<void(const StepRecord&, i64 total_steps)> step;
  std::function<void(const EpochRecord&)> epoch;
};

/// Trains on data.train, evaluates on data.dev after each epoch, and on data.test at the end with
/// the best weights. The same seed gives the same bits, for any number of threads. Throws Error
/// (run time) in the step in which the loss stops being a number.
TrainingResult train(nn::DistilBertClassifier& model, Optimizer& optimizer,
                     const TrainingData& data, const TrainingOptions& options,
                     const TrainingObserver& observer = {});

/// The optimizer steps that `train` will take.
i64 total_steps(const TrainingData& data, const TrainingOptions& options);

/// Logits [texts, labels] of every text of a split, without recording.
Tensor predict(const nn::DistilBertClassifier& model, const TokenizedSplit& split);

/// Accuracy, F1 and loss of those logits.
Evaluation evaluate(const nn::DistilBertClassifier& model, const TokenizedSplit& split);

}  // namespace minima
