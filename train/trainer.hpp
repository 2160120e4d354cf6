/// Trainer: the loop, for those who want none of their own.
///
///     const TrainingOptions options{.epochs = 5};
///     Trainer trainer(classification(model, data, options), "adamw:lr=5e-4", options, "runs/mine");
///     TrainingResult result = trainer.run();
///     result.dev().accuracy();                       // of the best evaluation, whose weights the model has
///
/// It is the loop of train/accelerator.hpp, and around it: evaluation, the best model, early stopping, callbacks,
/// changes of the optimizer, and in a run directory metrics.jsonl, event files for TensorBoard, and checkpoints/step-N/.
#pragma once

#include <csignal>
#include <vector>

#include "data/batcher.hpp"
#include "train/accelerator.hpp"
#include "train/tensorboard.hpp"

namespace minima {

inline constexpr i64 kMostEpochs = 100'000;

struct TrainingOptions {
  i64 epochs = 5;
  BatchSize batch = BatchSize::of_texts(32);
  /// As parse_schedule reads it (optim/schedule.hpp). `plateau` sees the loss on dev after each
  /// evaluation, with mode=max the accuracy.
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

  Precision precision = Precision::fp32;  ///< of the products, in training
  /// On a GPU: batches are filled up to a multiple of so many tokens by texts that no loss sees, and what
  /// has the shapes of an earlier batch is replayed as a CUDA graph (nn/replayed_loss.hpp). 0: neither.
  i64 round_tokens = 0;

  // Fine-tuning (train/finetuning.hpp).
  std::vector<std::string> freeze = {};  ///< parts of names whose parameters stay as they are
  double layer_decay = 1;  ///< a layer's learning rate as a share of that of the layer above

  // Of a classifier (train/classification.hpp) alone; an objective of your own hears nothing of them. Its loss in training
  // (core/ops/cross_entropy.hpp); on dev it is the plain one.
  double word_dropout = 0;         ///< share of tokens that are hidden (data/masking.hpp)
  std::string class_weights = "";  ///< as class_weights reads it
  double label_smoothing = 0;

  i64 steps = 0;       ///< instead of epochs; 0: as many as the epochs have
  double minutes = 0;  ///< of this process, after which training stops, wherever it is; 0: no limit
  i64 evaluate_every = 0;  ///< steps; 0: at the end of each epoch. Always after the last step
  /// By which the best model is chosen: a name of Evaluation::score; empty: the last is kept.
  std::string metric = "accuracy";
  i64 patience =
      0;  ///< training stops after so many evaluations in a row without a better one; 0: never
  /// Steps from one checkpoint to the next; 0: none but before a change of the optimizer and when interrupted. Not
  /// given: by the clock, a minute apart or, where that is longer, a hundred times as long as writing the last one took.
  /// One that is due where a step is skipped (non_finite) waits for the next that is taken.
  std::optional<i64> save_every = {};
  i64 keep = 2;  ///< newest checkpoints that are kept; 0: all
};

/// Whether a resumed run may have another value of an option, "save_every" or "save-every": it changes no bit of it.
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

/// Why training ended.
enum class Stop { finished, patience, minutes, interrupted, callback };
std::string_view stop_name(Stop stop);

struct TrainingResult : TrainingRecords {
  /// Of `evaluations`: the best by the metric (of equals, the lower loss); the model is left with its weights.
  /// None where nothing was evaluated. One whose loss or metric is not finite is none.
  std::optional<std::size_t> best;
  Evaluation best_dev{ConfusionMatrix(0),
                      0};  ///< of that evaluation, its confusion matrix included
  Stop stop = Stop::finished;
  i64 epoch = 0;       ///< in which it ended
  Json time;           ///< of this process: what it went into (train/time_spent.hpp)
  double seconds = 0;  ///< in all

  const Evaluation& dev() const { return best_dev; }
  i64 best_epoch() const { return best ? evaluations[*best].epoch : 0; }
};

/// Called while training goes on; each may be empty.
struct Callback {
  std::function<void(const StepRecord&, i64 total_steps)> step = {};
  std::function<void(const EvaluationRecord&)> evaluation = {};
  std::function<void(const Alarm&)> alarm = {};
  std::function<void(const SwitchRecord&)> switched = {};
  std::function<void(const std::string& spec)> optimizer = {};  ///< it trains on with another
  std::function<void(const std::filesystem::path& folder)> checkpoint = {};  ///< one was written
  std::function<void(const std::string&)> say =
      {};  ///< what the user should know: "going on from …"
};

class Trainer {
 public:
  /// By the optimizer that `spec` names (make_optimizer) over parameter_groups, when those of options.freeze are frozen;
  /// they stay so (Parameter::trainable). Where `directory` is empty nothing is written. Throws Error for options that make
  /// no sense or fit no parameter.
  Trainer(Objective objective, const std::string& spec, TrainingOptions options,
          std::filesystem::path directory = {});
  /// By an optimizer with groups of its own, which must outlive the trainer. Throws Error also for options.freeze, groups
  /// and layer_decay, which would come too late for it.
  Trainer(Objective objective, Optimizer& optimizer, TrainingOptions options,
          std::filesystem::path directory = {});
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// That which it trains by now: another one where options.switches say so.
  const Optimizer& optimizer() const { return optimizer_; }

  /// In the order in which they are called.
  std::vector<Callback> callbacks;
  /// What run.json says of the run; checkpoints keep it too (see read_run), and resume() writes it where it is given.
  Json run_json;

  /// Goes on from the newest whole checkpoint of the directory, which it tells the callbacks, as it does what of the log is
  /// lost; false where there is none. Before run(). Throws Error where data, parameters or options are others than the
  /// checkpoint's.
  bool resume();

  /// Trains. The same seed gives the same bits, for any number of threads, and whether or not it was interrupted and
  /// resumed. Throws TrainingFailed, which the log tells, in the step in which the loss or the gradient stops being a
  /// number; where such steps are skipped, at the end if the loss on dev was never one. Once: another training takes another
  /// trainer.
  TrainingResult run();

  /// For callbacks: ends training after the step at hand, evaluates or saves after it.
  void stop() { stop_wanted_ = true; }
  void evaluate_now() { evaluation_wanted_ = true; }
  void save_now() { save_wanted_ = true; }

  /// Adds a line of the caller's to metrics.jsonl, after run().
  void log(const Json& line) { accelerator_.log(line); }

  const Accelerator& accelerator() const { return accelerator_; }
  i64 total_steps() const { return accelerator_.total_steps(); }

 private:
  /// Takes over what is trained; refuses options now that would not fit later.
  void prepare();
  /// An optimizer of what is trained, under the options.
  Optimizer made(const std::string& spec) const;
  TrainingResult train();
  void change_optimizer_if_due();
  void tell_of_unheeded_schedule();
  /// Whether a step was taken with it.
  bool train_on_next_batch();
  void evaluate();
  void save();
  void write_run() const;
  void fill(const std::filesystem::path& folder) const;
  bool save_is_due() const;
  /// The first value that is not finite when the step's batches are done once more; empty where all are.
  std::string find_non_finite();
  void restore(const Checkpoint& checkpoint);
  void restore_log(const Checkpoint& checkpoint);
  void restore_best(const Checkpoint& checkpoint);
  i64 best_bytes() const;  ///< of the best weights
  void tell(const std::function<void(const Callback&)>& what);
  void say(const std::string& text);

  Objective objective_;
  const TrainingOptions options_;
  const std::filesystem::path directory_;
  /// Freezes, and trains again what it froze, unless that is to stay so: where no trainer comes of it.
  class Freezing {
   public:
    Freezing(const std::vector<Parameter*>& parameters, const std::vector<std::string>& patterns);
    ~Freezing();
    Freezing(const Freezing&) = delete;
    void stays() { frozen_.clear(); }

   private:
    std::vector<Parameter*> frozen_;
  };
  Freezing freezing_;
  std::optional<Optimizer> own_;
  Optimizer& optimizer_;
  Accelerator accelerator_;
  std::map<i64, std::string> switches_;  ///< specs, by the steps before them
  std::optional<TensorBoardLog> board_;

  TrainingResult result_;
  std::vector<Tensor> best_values_;
  i64 without_better_ = 0;                      ///< evaluations since the best
  i64 evaluated_at_ = 0;                        ///< steps taken by then
  std::vector<std::vector<i64>> step_batches_;  ///< indices of the step at hand
  nn::Pass pass_;                               ///< of that step
  Stopwatch since_save_;
  double save_seconds_ = 0;  ///< what the last checkpoint took
  bool ran_ = false;
  bool stop_wanted_ = false, evaluation_wanted_ = false, save_wanted_ = false, save_due_ = false;
};

/// The groups of those parameters that train, for the optimizer that `spec` names: decay_groups, split by options.groups, and
/// by layer for options.layer_decay.
std::vector<ParameterGroup> parameter_groups(const std::vector<Parameter*>& parameters,
                                             const std::string& spec,
                                             const TrainingOptions& options);

/// Optimizer steps of a training. Throws Error for a size that its batches cannot have.
i64 total_steps(const Batches& batches, const TrainingOptions& options);

/// While one lives, Ctrl-C (and SIGTERM, and SIGHUP unless that is ignored, as under nohup) asks for an orderly end: the
/// trainer saves and stops. A second one ends the process at once. What was done of these signals before is done again
/// afterwards.
class InterruptRequests {
 public:
  InterruptRequests();
  ~InterruptRequests();
  InterruptRequests(const InterruptRequests&) = delete;
  InterruptRequests& operator=(const InterruptRequests&) = delete;
  static int received();  ///< which signal; 0: none

 private:
  struct sigaction before_[3];
};

}  // namespace minima
