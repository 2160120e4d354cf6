/// Accelerator: what stands around a training step, for those who write the loop themselves. It draws the
/// batches, accumulates gradients, clips, follows the schedule, watches, and saves and resumes. The Trainer's
/// own loop (train/trainer.cpp) is written with it, so both give the same bits.
///
///     Accelerator accelerator({.accumulate = 4});
///     accelerator.prepare(model.parameters(), optimizer, batches, steps);
///     while (accelerator.next()) {
///       const Batch batch = make_batch(split, accelerator.indices());
///       const Variable loss = cross_entropy(model(batch, accelerator.pass()), batch.labels);
///       accelerator.backward(loss, static_cast<double>(batch.texts()), batch.tokens.size());
///       if (accelerator.accumulate()) continue;      // the step has further batches
///       accelerator.clip(1);
///       accelerator.step();
///     }
///
/// `accelerator.log_to("runs/mine")` before the loop writes runs/mine/metrics.jsonl, for `minima report runs/mine`.
///
/// **Accumulation.** A step over batches of n₁, n₂, … items whose mean losses are L₁, L₂, … takes the gradient of
///
///     L = Σ nᵢ Lᵢ / Σ nᵢ           the mean over all items, as if they were one batch
///
/// (the plain mean of the Lᵢ would count the items of a short batch more). The sum Σ nᵢ is known only at the end:
/// each batch comes in with nᵢ/n₁, and the step divides by Σ nᵢ/n₁. Of a lone batch both are 1.
#pragma once

#include <filesystem>
#include <optional>

#include "core/ops/matmul.hpp"
#include "core/stopwatch.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"
#include "train/checkpoint.hpp"
#include "train/metrics_log.hpp"
#include "train/objective.hpp"
#include "train/precision.hpp"
#include "train/switch.hpp"
#include "train/time_spent.hpp"
#include "train/update_in_backward.hpp"
#include "train/watch.hpp"

namespace minima {

/// Steps in a row that may be skipped.
inline constexpr i64 kMostSkipped = 20;

struct AcceleratorOptions {
  i64 accumulate = 1;               ///< batches of a step; the last step of an epoch may have fewer
  std::string schedule = "linear";  ///< as parse_schedule reads it (optim/schedule.hpp)
  double warmup = 0.1;              ///< share of all steps; one_cycle has its pct_start instead
  u64 seed = 1;                     ///< of dropout
  i64 watch = 20;  ///< every so many steps each tensor is watched (train/watch.hpp); 0: never
  NonFinite non_finite = NonFinite::stop;
  bool checkpoint_layers = false;  ///< see nn::Pass
  Precision precision = Precision::fp32;
  /// Each parameter is stepped in backward, as soon as its gradient is whole (train/update_in_backward.hpp): the same bits
  /// with less memory, for a step of one batch whose gradient is not clipped by its norm. On the CPU. Where a gradient is
  /// not finite, or backward() throws, a part of the weights is changed: a checkpoint has them as they were before.
  bool update_in_backward = false;
};

/// What becomes of an earlier run's log and checkpoints.
enum class Earlier { refused, replaced };

/// What the caller adds to a checkpoint.
struct CheckpointExtras {
  /// Must write model.safetensors.
  std::function<void(const std::filesystem::path& folder)> fill = {};
  Json state = Json::object();
  i64 bytes = 0;  ///< of what is beyond parameters and optimizer, roughly
  i64 keep = 2;   ///< newest checkpoints that are kept; 0: all
};

/// Training that failed by itself: its loss, gradient or weights are no numbers any more. The same steps would end so again.
struct TrainingFailed : Error {
  explicit TrainingFailed(const std::string& message) : Error(message, Fault::runtime) {}
};
template <class... Args>
[[noreturn]] void fail_training(fmt::format_string<Args...> format, Args&&... args) {
  throw TrainingFailed(fmt::format(format, std::forward<Args>(args)...));
}

/// Whatever needs parameters, optimizer or batches throws Error before prepare() was called.
class Accelerator {
 public:
  /// Throws Error for options that make no sense.
  explicit Accelerator(AcceleratorOptions options);

  /// Takes over what is trained, all of which must outlive the accelerator. `steps` are those of the whole training, which
  /// the schedule goes by (see total_steps). Throws Error for a second call, no batches, less than one step, and an optimizer
  /// of other parameters.
  void prepare(std::vector<Parameter*> parameters, Optimizer& optimizer, Batches batches,
               i64 steps);

  /// Goes to the next batch; false when all steps are taken. Throws Error where the batch before got no backward(), or a step
  /// whose batches are all done no step().
  bool next();
  const std::vector<i64>& indices() const { return indices_; }  ///< of that batch
  /// The batch after it; null at the end of an epoch.
  const std::vector<i64>* upcoming() const {
    return place_ < batches_now_.size() ? &batches_now_[place_] : nullptr;
  }
  /// What the model's forward pass needs: dropout is keyed by the seed and the step.
  nn::Pass pass() const {
    return {.training = true,
            .seed = options_.seed,
            .step = step_ + 1,
            .checkpoint_layers = options_.checkpoint_layers,
            .precision = product_type(options_.precision)};
  }

  /// Adds the gradient of a batch's mean loss over `weight` items; `tokens` are counted. Call it once after each next().
  ///
  /// Throws Error where no batch is at hand, for a weight that is not positive, a loss that is no single number, and as
  /// Variable::backward does: a call that ended half way has left a part of its gradient, and another is refused until
  /// restore(state()) has begun the step anew (with options.update_in_backward: until a checkpoint was resumed). Throws Error
  /// (run time) when the loss is not finite and options.non_finite says stop; for a loss on a GPU, which is not waited for
  /// here, step() does.
  void backward(const Variable& loss, double weight = 1, i64 tokens = 0);
  /// Whether the step at hand has further batches.
  bool accumulate() const { return more_; }
  /// Clips the step's gradient, and those of later steps: its global norm to at most `norm`, each entry to ± `value`; 0: not.
  /// step() throws for a negative one. With options.update_in_backward this throws Error for a norm, and between backward()
  /// and step().
  void clip(double norm, double value = 0);
  /// Changes the parameters and clears their gradients. Throws Error before all batches of the step had their backward(),
  /// and as Optimizer::step does; and (run time) when the gradient is not finite and
  /// options.non_finite says stop, when too many steps were skipped in a row, and when a weight is not finite afterwards.
  StepRecord step();

  i64 steps() const { return step_; }         ///< taken
  i64 total_steps() const { return total_; }  ///< to be taken
  i64 epoch() const { return epoch_; }        ///< of the last batch, from 1
  /// Steps taken before the last change of the optimizer; 0: none.
  i64 changed_at() const { return changed_at_; }
  /// After a step: whether it was the last of its epoch.
  bool epoch_ended() const { return place_ == batches_now_.size(); }
  /// Called when something rings; may be empty.
  std::function<void(const Alarm&)> on_alarm;
  /// Asked where a loss or gradient that is not finite came from; may be empty. The Trainer repeats the step's batches under
  /// FindNonFinite.
  std::function<std::string()> explain_non_finite;

  /// Takes note of how good the model is by now, for the log and for the schedule `plateau`: that sees the loss or, with
  /// mode=max, the metric (the accuracy, where more of the metric is not better).
  EvaluationRecord observe(const Evaluation& evaluation, const std::string& metric = "accuracy");
  /// Trains on with another optimizer, which takes over what state it can. `spec` is what the log calls it; empty: its name.
  SwitchRecord change_optimizer(Optimizer next, std::string spec = "");

  /// How many of the last steps were skipped, one after another (see NonFinite).
  i64 skipped_in_row() const { return skipped_in_row_; }

  /// Whether this process writes files and speaks (there is one so far).
  bool main_process() const { return true; }

  /// From now on RUN/metrics.jsonl gets a line for each step, evaluation, alarm and change of the optimizer. After resume()
  /// it goes on where it was when the checkpoint was written, without what is damaged or missing by then. Returns what the log
  /// holds already. Throws Error for a folder with an earlier run that was not resumed (refuse_earlier_run), unless that is to
  /// be replaced.
  LoggedRecords log_to(const std::filesystem::path& run, Earlier earlier = Earlier::refused);
  bool logs() const { return log_.has_value(); }
  /// Adds a line of the caller's, {"test": evaluation.to_json(), "best_epoch": 3, "mine": 1}; does nothing without a log.
  /// Throws Error for a line that is not one (check_callers_line).
  void log(const Json& line);

  /// Tells the log why training has failed.
  void log_failure(const std::string& error) {
    write({{"failed", {{"step", step_}, {"error", error}}}});
  }

  /// What the time since prepare() went into. From next() to step() it is steps, whatever the caller does meanwhile.
  TimeSpent& time() { return time_; }
  double seconds() const { return time_.in_all(); }  ///< those before a resume too

  /// Writes RUN/checkpoints/step-N/ (train/checkpoint.hpp): model.safetensors or what extras.fill writes in its place,
  /// optimizer.safetensors, and state.json with state() and extras.state beside it. Returns the folder. After a step that was
  /// skipped no earlier checkpoint is removed: training may not recover. Throws Error (run time) when the disk refuses, and for
  /// a weight that is not finite; earlier checkpoints then stay whole.
  std::filesystem::path checkpoint(const std::filesystem::path& run,
                                   const CheckpointExtras& extras = {});
  i64 checkpoint_bytes() const;  ///< of parameters, optimizer and state, roughly
  /// Takes parameters, optimizer and state from a checkpoint (see newest_checkpoint). Throws Error where they do not
  /// fit what was prepared; then training stands where it stood, with the weights that it had.
  void resume(const Checkpoint& checkpoint);

  /// Where training stands: step, place among the batches, plateau, watched histories. Parameters and the
  /// optimizer's state are apart; gradients of a step begun are not in it: its batches come again.
  Json state() const;
  /// Takes it back. Throws Error for the state of another training, naming what differs; then nothing has changed.
  void restore(const Json& state);

 private:
  void require_prepared() const;
  void begin_epoch(i64 epoch);
  void ring(const Alarm& alarm);
  double lr_factor() const;  ///< of the step at hand
  bool watches() const;      ///< whether that step is watched
  /// Throws Error for `what` where backward() has taken the step at hand already.
  void refuse_after_update(const char* what) const;
  /// Changes the parameters, where the loss is finite and backward() has not changed them.
  StepReport take_step(double lr_factor);
  /// Rings for what is unusual.
  void watch(const StepReport& report, double lr_factor);
  /// Rings for a loss that is not finite, and throws Error (run time) when options.non_finite says stop.
  void refuse_bad_loss(i64 step);
  /// Throws Error (run time) where the step must not be skipped, or too many in a row were.
  void count_skipped(const StepReport& report);
  /// Into the log, where there is one.
  template <class Line = Json>
  void write(const Line& line) {
    if (!log_) return;
    const TimeSpent::During logging(time_, TimeSpent::Part::logging);
    log_->write(line);
  }
  /// What is known of where it came from, as the end of a sentence.
  std::string origin_of_non_finite() const;
  /// "the weight 'w' is not finite at element 3"; empty where all are.
  std::string bad_weight() const;
  void refuse_bad_weights() const;

  AcceleratorOptions options_;
  Schedule schedule_;
  ReduceOnPlateau plateau_;
  Watch watch_;

  std::vector<Parameter*> parameters_;
  Optimizer* optimizer_ = nullptr;
  Batches batches_;
  i64 total_ = 0;

  i64 step_ = 0, epoch_ = 0;
  std::vector<std::vector<i64>> batches_now_;  ///< of the epoch
  std::size_t place_ = 0;                      ///< of the next batch among them
  std::size_t step_place_ = 0;                 ///< of the first batch of the step at hand
  std::vector<i64> indices_;
  bool more_ = false;
  bool heard_ = false;  ///< of the batch at hand, by backward()

  /// The step at hand, so far.
  struct AtHand {
    double first_weight = 0, weight = 0;  ///< of its first batch; of all
    double loss = 0;                      ///< the sum of weight times loss
    Tensor loss_there = {};               ///< the same on a GPU, where step() reads it
    i64 texts = 0, tokens = 0;
    std::optional<UpdatedInBackward> updated = {};  ///< backward() has taken it
    bool torn = false;                              ///< by a backward() that ended half way
    bool bad = false;                               ///< its loss is not finite
  };
  AtHand at_hand_;
  std::optional<ops::AllowTf32> tf32_;  ///< until step()
  double clip_norm_ = 0, clip_value_ = 0;
  bool gradients_seen_ = false;  ///< by Alarm::Of::no_gradient

  LossScale scale_;
  i64 skipped_in_row_ = 0;

  double loss_sum_ = 0, weight_sum_ = 0;  ///< of what was trained on since the last evaluation
  std::optional<MetricsLog> log_;
  std::optional<u64> logged_;  ///< bytes of it, in the checkpoint that was resumed
  Stopwatch step_clock_;
  TimeSpent time_;

  /// Steps before the last change of the optimizer, and those of the warm-up after it.
  i64 changed_at_ = 0, restart_warmup_ = 0;
};

/// Optimizer steps of `epochs` passes, the batches accumulated.
i64 total_steps(const Batches& batches, i64 epochs, i64 accumulate);

}  // namespace minima
