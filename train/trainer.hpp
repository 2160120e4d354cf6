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
#include "train/switch.hpp"
#include "train/watch.hpp"

namespace minima {

struct TrainingData {
  TokenizedSplit train, dev, test;
};

struct TrainingOptions {
  i64 epochs = 5;
  BatchSize batch = BatchSize::of_texts(32);
  /// As parse_schedule reads it (optim/schedule.hpp). `plateau` sees the loss on dev after each
  /// epoch, with mode=max the accuracy.
  std::string schedule = "linear";
  double warmup = 0.1;    ///< share of all steps; one_cycle has its pct_start instead
  double clip_norm = 1;   ///< 0: not clipped
  u64 seed = 1;           ///< of the order of texts and of dropout
  double clip_value = 0;  ///< greatest entry of a gradient; 0: not cut
  /// Batches of an optimizer step: its gradient is the mean over all their texts. The last step of
  /// an epoch may have fewer. Steps are optimizer steps everywhere.
  i64 accumulate = 1;
  i64 watch = 10;  ///< every so many steps each tensor is watched (train/watch.hpp); 0: never
  std::vector<GroupPattern> groups = {};       ///< over decay_groups
  std::vector<OptimizerSwitch> switches = {};  ///< in any order, of different steps
};

/// Throws Error for options that make no sense, those of `groups` and `switches` included.
void validate(const TrainingOptions& options);
/// Throws Error for a wrong spec, and where options.groups has an option that its rule lacks.
void validate_optimizer(const std::string& spec, const TrainingOptions& options);

/// One optimizer step.
struct StepRecord {
  i64 step, epoch;  ///< from 1
  double loss, lr_factor, grad_norm;
  bool clipped;         ///< by its norm
  double milliseconds;  ///< batches, forward, backward and update
  i64 texts, tokens;
  std::vector<TensorReport> tensors;  ///< where it was watched
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
  std::vector<Alarm> alarms;
  std::vector<SwitchRecord> switches;
  /// Of the highest accuracy on dev (of equals, the lower loss); the model is left with its weights.
  i64 best_epoch;
  Evaluation dev, test;  ///< of that epoch
  double seconds;
};

/// Called while training goes on; each may be empty.
struct TrainingObserver {
  std::function<void(const StepRecord&, i64 total_steps)> step;
  std::function<void(const EpochRecord&)> epoch;
  std::function<void(const Alarm&)> alarm = {};
  /// Before the optimizer is changed after `step` steps: the place to write a checkpoint.
  std::function<void(const Optimizer&, i64 step)> checkpoint = {};
  std::function<void(const SwitchRecord&)> switched = {};
};

/// The groups of a model's parameters under `options`, for the optimizer that `spec` names.
std::vector<ParameterGroup> parameter_groups(nn::DistilBertClassifier& model,
                                             const std::string& spec,
                                             const TrainingOptions& options);

/// Trains on data.train, evaluates on data.dev after each epoch, and on data.test at the end with
/// the best weights. The same seed gives the same bits, for any number of threads. Throws Error
/// (run time) in the step in which the loss stops being a number. Where options.switches say so,
/// `optimizer` becomes another one.
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
