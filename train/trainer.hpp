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

#include <vector>

#include "train/accelerator.hpp"
#include "train/tensorboard.hpp"
#include "train/training_options.hpp"

namespace minima {

/// Why training ended.
enum class Stop { finished, patience, minutes, interrupted, callback };
std::string_view stop_name(Stop stop);

struct TrainingResult : TrainingRecords {
  /// Which of `evaluations` is the best by the metric (of equals, the lower loss); the model is left with its weights. None
  /// where nothing was evaluated, or no evaluation had a finite loss and metric.
  std::optional<std::size_t> best;
  Evaluation best_dev{ConfusionMatrix(0), 0};  ///< that evaluation, with its confusion matrix
  Stop stop = Stop::finished;
  i64 epoch = 0;       ///< in which it ended
  Json time;           ///< what it went into (train/time_spent.hpp), before a resume too
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
  std::function<void(const std::string&)> say = {};  ///< what the user should know: "going on …"
};

class Trainer {
 public:
  /// Trains by the optimizer that `spec` names (make_optimizer), over parameter_groups. Freezes the parameters that
  /// options.freeze names; they stay so (Parameter::trainable). With an empty `directory` nothing is written. Throws Error for
  /// options that make no sense or fit no parameter, and for an objective without batches or loss.
  Trainer(Objective objective, const std::string& spec, TrainingOptions options,
          std::filesystem::path directory = {});
  /// By an optimizer with groups of its own, which must outlive the trainer. Throws Error also for options.freeze, groups
  /// and layer_decay, which would come too late for it.
  Trainer(Objective objective, Optimizer& optimizer, TrainingOptions options,
          std::filesystem::path directory = {});
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// The optimizer by now: another one after a switch (options.switches).
  const Optimizer& optimizer() const { return optimizer_; }

  /// In the order in which they are called.
  std::vector<Callback> callbacks;
  /// What run.json says of the run; checkpoints keep it too (see read_run), and resume() writes it where it is given.
  Json run_json;

  /// Goes on from the newest whole checkpoint of the directory; false where there is none. Call it before run(). Callbacks are
  /// told of the checkpoint, of what the log has lost, and of another device than before. Throws Error where data, parameters
  /// or options differ from the checkpoint's.
  bool resume();

  /// Trains, once: another training takes another trainer. The same seed gives the same bits, for any number of threads, and
  /// whether or not it was interrupted and resumed. Throws TrainingFailed, which also goes into the log, in the step in which
  /// the loss or the gradient stops being a number; where such steps are skipped, at the end if the loss on dev never was one.
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
  std::optional<Stop> stop_before_step();
  /// Whether a step was taken with it.
  bool train_on_next_batch();
  /// Tells of the step, evaluates and saves where that is due; why training ends with it, if it does.
  std::optional<Stop> end_step();
  void evaluate();
  std::string device() const;  ///< what it computes on
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
  /// Calls this function of each callback that has one.
  template <class Function, class... Args>
  void tell(Function Callback::*what, const Args&... args);
  void say(const std::string& text) { tell(&Callback::say, text); }

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

}  // namespace minima
