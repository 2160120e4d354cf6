/// What a training is told: batches, schedule, clipping, evaluation, checkpoints, parameter groups.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/batcher.hpp"
#include "train/accelerator.hpp"

namespace minima {

inline constexpr i64 kMostEpochs = 100'000;

struct TrainingOptions {
  i64 epochs = 5;
  BatchSize batch = BatchSize::of_texts(32);
  /// As parse_schedule reads it (optim/schedule.hpp). `plateau` sees the loss on dev after each
  /// evaluation, with mode=max the `metric` (the accuracy, where that is the loss or none).
  std::string schedule = "linear";
  double warmup = 0.1;    ///< share of all steps; one_cycle has its pct_start instead
  double clip_norm = 1;   ///< 0: not clipped
  u64 seed = 1;           ///< of the order of texts and of dropout
  double clip_value = 0;  ///< greatest entry of a gradient; 0: not cut
  /// Batches of an optimizer step: its gradient is the mean over all their texts. The last step of
  /// an epoch may have fewer. Steps are optimizer steps everywhere.
  i64 accumulate = 1;
  i64 watch = 20;  ///< every so many steps each tensor is watched (train/watch.hpp); 0: never
  std::vector<GroupPattern> groups = {};       ///< over decay_groups (see parameter_groups)
  std::vector<OptimizerSwitch> switches = {};  ///< in any order, of different steps

  NonFinite non_finite = NonFinite::stop;
  /// Each block keeps its input alone, and backward computes the rest again: less memory, the same bits, about a third
  /// more time.
  bool checkpoint_layers = false;
  /// See AcceleratorOptions; asks for clip_norm 0.
  bool update_in_backward = false;

  Precision precision = Precision::fp32;  ///< of the products, in training
  /// On a GPU: batches are filled up to a multiple of so many tokens by texts that no loss sees, and what
  /// has the shapes of an earlier batch is replayed as a CUDA graph (nn/replayed_loss.hpp). 0: neither.
  i64 round_tokens = 0;

  // Fine-tuning (train/finetuning.hpp).
  std::vector<std::string> freeze = {};  ///< parts of names whose parameters stay as they are
  double layer_decay = 1;  ///< a layer's learning rate as a share of that of the layer above

  // Only for a classifier (train/classification.hpp); an objective of your own does not see them. They change its loss in
  // training (core/ops/cross_entropy.hpp), not on dev.
  double word_dropout = 0;         ///< share of tokens that are hidden (data/masking.hpp)
  std::string class_weights = "";  ///< as the function class_weights reads it
  double label_smoothing = 0;

  i64 steps = 0;       ///< instead of epochs; 0: as many as the epochs have
  double minutes = 0;  ///< of this process, after which training stops, wherever it is; 0: no limit
  i64 evaluate_every = 0;  ///< steps; 0: at the end of each epoch. Always after the last step
  /// By which the best model is chosen: a name of Evaluation::score; empty: the last is kept.
  std::string metric = "accuracy";
  /// Training stops after so many evaluations in a row without a better one; 0: never.
  i64 patience = 0;
  /// Steps from one checkpoint to the next; 0: only before a change of the optimizer, and where training stops before its last
  /// step. Not given: by the clock, a minute apart or, where that is longer, a hundred times as long as writing the last one
  /// took. One that is due when a step is skipped (non_finite) waits for the next step that is taken.
  std::optional<i64> save_every = {};
  i64 keep = 2;  ///< newest checkpoints that are kept; 0: all
};

/// The options that steps depend on (train/accelerator.hpp).
AcceleratorOptions accelerator_options(const TrainingOptions& options);

/// Whether a resumed run may have another value of this option ("save_every" or "save-every"), since it changes no bit.
bool is_free(std::string option);

/// Throws Error for options that make no sense, those of `groups` and `switches` included.
void validate(const TrainingOptions& options);
/// Every option of the optimizer under options.groups. Throws Error for a wrong spec, and for a group with an option that
/// its rule lacks.
Json validate_optimizer(const std::string& spec, const TrainingOptions& options);
/// Every option, as run.json and checkpoints keep them.
Json to_json(const TrainingOptions& options);
/// `batch` as a user reads it: "32 texts", "2048 tokens".
std::string to_string(const BatchSize& batch);

/// The groups of those parameters that train, for the optimizer that `spec` names: decay_groups, split by options.groups, and
/// by layer for options.layer_decay.
std::vector<ParameterGroup> parameter_groups(const std::vector<Parameter*>& parameters,
                                             const std::string& spec,
                                             const TrainingOptions& options);

/// Optimizer steps of a training. Throws Error for a size that its batches cannot have.
i64 total_steps(const Batches& batches, const TrainingOptions& options);

}  // namespace minima
