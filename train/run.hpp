/// A run: one model trained on a task by one optimizer with one seed, and what is recorded of it.
#pragma once

#include <filesystem>
#include <memory>

#include "train/task.hpp"
#include "train/trainer.hpp"

namespace minima {

/// What training starts from: random weights, or those of a pre-trained encoder. A small one, at most 256 wide as one may
/// pre-train on two cores, has learned little that a large rate could spoil.
enum class Start { scratch, small_encoder, encoder };
/// By the config.json of the model directory `model`; scratch where it is none (see TaskOptions).
Start start_of(const std::string& model);

/// The optimizer's spec with what the user did not say: a learning rate (with momentum for SGD and without a relative
/// step for Adafactor) that suits training a small encoder from scratch, "lion" → "lion:lr=0.0002"; to fine-tune, a tenth
/// of that rate, or a half where the encoder is small. A rule without such a rate here goes by its own default. `lr` replaces the
/// rate and nothing else. A spec with an lr in it stays as it is. Throws Error for an unknown optimizer, and for an lr both in
/// the spec and beside it.
std::string with_defaults(const std::string& spec, Start start = Start::scratch,
                          std::optional<double> lr = {});

/// The same of a group: one with a relative step takes no learning rate, "relative_step=true" →
/// "relative_step=true:lr=none".
GroupPattern with_defaults(GroupPattern group);

/// Passes over the training texts that suit training from scratch: as many as show the model about
/// 25,000 texts, from 3 to 20. Little text needs more passes; more of them over-fit.
i64 default_epochs(i64 training_texts);

struct Run {
  std::unique_ptr<nn::Classifier> model;  ///< with the weights of the best epoch
  TrainingResult result;
  Evaluation test{ConfusionMatrix(0), 0};  ///< of those weights
  /// {"optimizer", "spec", "options", "seed", "state_elements", "scales", "state_bytes",
  /// "state_bytes_predicted", "step_ms" (median), "tokens_per_second", "peak_bytes" (held at once in a step), "seconds",
  /// "best_epoch", "dev", "test", "train_loss", "grad_norm", "lr_factor", "clipped" (each step's),
  /// "clipped_share", "watched": {"steps", "tensors": [{"name", "ratio", "step_size",
  /// "update_clipped"}]}, "alarms", "switches", "skipped" (steps), "first_skipped", "epochs", "worst"
  /// (train/worst.hpp), "stop", "time" (train/time_spent.hpp), "others_cores" (null where unknown), "final_optimizer",
  /// where it was changed "final_state_bytes", and with a directory "state" (train/state_use.hpp)}.
  Json record = {};
};

/// Where a run writes.
struct RunDirectory {
  RunDirectory(std::filesystem::path path = {}, bool resume = false, Json arguments = nullptr)
      : path(std::move(path)), resume(resume), arguments(std::move(arguments)) {}
  std::filesystem::path path;  ///< empty: nothing is written
  bool resume;                 ///< go on with the run that is there
  Json arguments;              ///< of the program, for run.json: what --resume starts with
  /// Writes what the caller makes of the record. Before that the run has not ended (has_ended): one that is killed
  /// here is resumed.
  std::function<void(const Json& record)> report = {};
};

/// Begins a run's folder with its run.json: the task, `more` and directory.arguments. Throws Error for a folder that is
/// used already (refuse_used_folder). That of a resumed run stays, but for the options that it goes on with, and is
/// written by Trainer::resume when its checkpoint has been taken. Returns what it says.
Json begin_run(const RunDirectory& directory, const Task& task, const Json& more);
/// Removes what tells how a run stood before it goes on: the page, what it was made of, and a comparison's record of it. A
/// page that is damaged, or of another program, is kept aside, and told to `say`.
void remove_report(const std::filesystem::path& directory,
                   const std::function<void(const std::string&)>& say);
/// Trains, from where the run stopped if directory.resume says so; its page goes then. Adds to trainer.run_json what was
/// measured meanwhile: "peak_bytes" (the most that a step held at once, beside `live_before`) and "others_cores" (null
/// where unknown).
TrainingResult run_measured(Trainer& trainer, const RunDirectory& directory, Device device,
                            i64 live_before, const Callback& callback);
/// Adds why and after what time it ended to a run's run.json, when all else is written.
void end_run(const std::filesystem::path& directory, Json run, const TrainingResult& result);
/// Whether a run has taken all its steps and written its model: nothing is left to resume.
bool has_ended(const std::filesystem::path& directory);

/// Throws Error (Fault::memory) where the task computes on the host, and the host has less memory than any step of that
/// training must hold, or the step with the first epoch's largest batch, with this optimizer or a later one, or the change from
/// one to the next (train/memory.hpp). With Texts::plain it is that of a masked language model.
void check_fits(const Task& task, const std::string& spec, const TrainingOptions& options,
                Texts texts = Texts::labelled);

/// Trains from the weights that options.seed draws. In `directory` (none where empty) it writes run.json at once,
/// what a Trainer writes, and final/ at the end; with `directory.resume` it goes on with the run that is there, from its newest
/// whole checkpoint, or from the start where it has none. An interrupted run has no record, no test and no final/.
Run run_training(const Task& task, const std::string& spec, const TrainingOptions& options,
                 const RunDirectory& directory, const Callback& callback = {});

}  // namespace minima
