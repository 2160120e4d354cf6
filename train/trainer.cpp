#include "train/trainer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/files/folder.hpp"
#include "core/files/safetensors.hpp"
#include "nn/module.hpp"
#include "train/finetuning.hpp"
#include "train/interrupt.hpp"
#include "train/splits.hpp"

namespace minima {
namespace {

/// Seconds between checkpoints that go by the clock, and as a multiple of what writing one takes.
constexpr double kSaveSeconds = 60, kSaveMultiple = 100;

constexpr const char* kBest = "best.safetensors";

/// Puts copies of the values in the place of earlier ones: no second copy is there meanwhile.
void copy_values(const std::vector<Parameter*>& from, std::vector<Tensor>& to) {
  to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i)
    if (to[i].defined())
      to[i].copy_from(from[i]->value);
    else
      to[i] = from[i]->value.clone();
}

using Part = TimeSpent::Part;
using During = TimeSpent::During;

TrainingOptions validated(TrainingOptions options) {
  validate(options);
  return options;
}

}  // namespace

std::string_view stop_name(Stop stop) {
  switch (stop) {
    case Stop::finished:
      return "all steps are taken";
    case Stop::patience:
      return "no better evaluation any more";
    case Stop::minutes:
      return "the time is up";
    case Stop::interrupted:
      return "interrupted";
    case Stop::callback:
      return "a callback asked for it";
  }
  return "";
}

template <class Function, class... Args>
void Trainer::tell(Function Callback::*what, const Args&... args) {
  const During logging(accelerator_.time(), Part::logging);
  for (const Callback& callback : callbacks)
    if (callback.*what) (callback.*what)(args...);
}

Trainer::Freezing::Freezing(const std::vector<Parameter*>& parameters,
                            const std::vector<std::string>& patterns) {
  std::ranges::copy_if(parameters, std::back_inserter(frozen_), &Parameter::trainable);
  freeze(parameters, patterns);
  std::erase_if(frozen_, [](const Parameter* parameter) { return parameter->trainable; });
}

Trainer::Freezing::~Freezing() {
  for (Parameter* parameter : frozen_) parameter->trainable = true;
}

Trainer::Trainer(Objective objective, const std::string& spec, TrainingOptions options,
                 std::filesystem::path directory)
    : objective_(std::move(objective)),
      options_(validated(std::move(options))),
      directory_(std::move(directory)),
      freezing_(objective_.parameters, options_.freeze),
      own_(made(spec)),
      optimizer_(*own_),
      accelerator_(accelerator_options(options_)) {
  prepare();
  freezing_.stays();
}

Trainer::Trainer(Objective objective, Optimizer& optimizer, TrainingOptions options,
                 std::filesystem::path directory)
    : objective_(std::move(objective)),
      options_(validated(std::move(options))),
      directory_(std::move(directory)),
      freezing_({}, {}),
      optimizer_(optimizer),
      accelerator_(accelerator_options(options_)) {
  const auto refuse = [](bool given, const char* option) {
    check(!given,
          "trainer: {} would come too late for an optimizer that is made already; give the trainer "
          "its name and options in its place (\"adamw:lr=5e-4\")",
          option);
  };
  refuse(!options_.freeze.empty(), "freeze");
  refuse(!options_.groups.empty(), "groups");
  refuse(options_.layer_decay != 1, "layer_decay");
  prepare();
}

Optimizer Trainer::made(const std::string& spec) const {
  return make_optimizer(spec, parameter_groups(objective_.parameters, spec, options_));
}

void Trainer::prepare() {
  check(objective_.batches && objective_.loss, "trainer: the objective has no batches, or no loss");
  accelerator_.prepare(objective_.parameters, optimizer_, objective_.batches,
                       minima::total_steps(objective_.batches, options_));
  accelerator_.clip(options_.clip_norm, options_.clip_value);
  switches_ = by_step(options_.switches, total_steps());
  for (const auto& [step, spec] : switches_)  // refuses now what fits no parameter
    parameter_groups(objective_.parameters, spec, options_);
  accelerator_.on_alarm = [this](const Alarm& alarm) {
    tell(&Callback::alarm, alarm);
    result_.alarms.push_back(alarm);
  };
  accelerator_.explain_non_finite = [this] { return find_non_finite(); };
}

i64 Trainer::best_bytes() const {
  i64 bytes = 0;
  if (objective_.evaluate)
    for (const Parameter* parameter : objective_.parameters) bytes += parameter->value.bytes();
  return bytes;
}

TrainingResult Trainer::run() {
  try {
    return train();
  } catch (const TrainingFailed& failure) {
    accelerator_.log_failure(failure.what());
    throw;
  }
}

TrainingResult Trainer::train() {
  check(!std::exchange(ran_, true), "trainer: it has run; another training takes another trainer");
  const bool resumed = accelerator_.logs();  // reading the checkpoint is in its time then
  if (!resumed) accelerator_.time().restart();
  since_save_.restart();
  if (!directory_.empty()) {  // a full disk is told now, not by the model at the end
    make_folders(directory_);
    require_room(directory_, accelerator_.checkpoint_bytes() + best_bytes());
    if (!resumed) accelerator_.log_to(directory_);
    board_.emplace(directory_, accelerator_.steps() + 1);
  }
  tell_of_unheeded_schedule();
  std::optional<Stop> stop;
  while (!stop && !(stop = stop_before_step())) {
    change_optimizer_if_due();
    if (train_on_next_batch()) stop = end_step();
  }
  if (*stop != Stop::interrupted && !result_.best && !result_.evaluations.empty())
    fail_training(
        "train: the loss on dev was {} after step {}, and never finite before: the weights are too "
        "large; lower the learning rate or clip the gradients",
        result_.evaluations.back().dev.loss, accelerator_.steps());
  if (*stop != Stop::interrupted && result_.best)
    for (std::size_t i = 0; i < best_values_.size(); ++i)
      objective_.parameters[i]->value.copy_from(best_values_[i]);
  result_.stop = *stop;
  result_.epoch = accelerator_.epoch();
  result_.seconds = accelerator_.seconds();
  result_.time = accelerator_.time().to_json();
  return std::move(result_);
}

std::optional<Stop> Trainer::stop_before_step() {
  if (InterruptRequests::received()) {
    save();
    return Stop::interrupted;
  }
  if (options_.patience > 0 && without_better_ >= options_.patience) {
    save();
    return Stop::patience;
  }
  if (accelerator_.steps() == total_steps()) return Stop::finished;  // resumed after its last step
  return {};
}

std::optional<Stop> Trainer::end_step() {
  const i64 step = accelerator_.steps();
  const bool last = step == total_steps();
  {
    const During logging(accelerator_.time(), Part::logging);
    const StepRecord& record = result_.steps.back();
    if (board_)
      board_->write(step, std::array<std::pair<std::string, double>, 3>{
                              {{"train/loss", record.loss},
                               {"train/lr_factor", record.lr_factor},
                               {"train/grad_norm", record.grad_norm}}});
    tell(&Callback::step, record, total_steps());
  }
  std::optional<Stop> stop;
  if (last)
    stop = Stop::finished;
  else if (std::exchange(stop_wanted_, false))
    stop = Stop::callback;
  else if (options_.minutes > 0 && accelerator_.time().total() > 60 * options_.minutes)
    stop = Stop::minutes;
  const bool evaluation_due = options_.evaluate_every > 0 ? step % options_.evaluate_every == 0
                                                          : accelerator_.epoch_ended();
  if (std::exchange(evaluation_wanted_, false) || evaluation_due || last) evaluate();
  save_due_ |= save_is_due();
  const bool taken = accelerator_.skipped_in_row() == 0;
  // What was stopped before its end can go on: with more minutes, say.
  if (std::exchange(save_wanted_, false) || (!last && (stop || (save_due_ && taken)))) save();
  // After saving: a run that goes on has not been evaluated here, and has the bits of one that never stopped.
  if (stop) evaluate();
  return stop;
}

bool Trainer::train_on_next_batch() {
  accelerator_.next();
  step_batches_.push_back(accelerator_.indices());
  pass_ = accelerator_.pass();
  const i64 step = accelerator_.steps() + 1;
  const BatchLoss batch = needing_memory(
      [&] { return objective_.loss(accelerator_.indices(), pass_); },
      "train: step {}, forward of {} texts", step, std::ssize(accelerator_.indices()));
  needing_memory([&] { accelerator_.backward(batch.loss, batch.weight, batch.tokens); },
                 "train: step {}, {} tokens", step, batch.tokens);
  if (const auto* next = accelerator_.upcoming(); next && objective_.ahead) {
    nn::Pass pass = pass_;
    if (!accelerator_.accumulate()) ++pass.step;
    needing_memory([&] { objective_.ahead(*next, pass); },
                   "train: step {}, bringing {} texts ahead", step, std::ssize(*next));
  }
  if (accelerator_.accumulate()) return false;
  needing_memory([&] { result_.steps.push_back(accelerator_.step()); }, "train: step {}, optimizer",
                 step);
  step_batches_.clear();
  return true;
}

std::string Trainer::find_non_finite() {
  const FindNonFinite find;
  try {
    for (const std::vector<i64>& indices : step_batches_)
      objective_.loss(indices, pass_).loss.backward();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void Trainer::change_optimizer_if_due() {
  const i64 step = accelerator_.steps();
  const auto due = switches_.find(step);
  if (due == switches_.end() || accelerator_.changed_at() == step) return;
  save();
  const SwitchRecord record = accelerator_.change_optimizer(made(due->second), due->second);
  result_.switches.push_back(record);
  tell(&Callback::switched, record);
  tell(&Callback::optimizer, due->second);
  tell_of_unheeded_schedule();
}

void Trainer::tell_of_unheeded_schedule() {
  const bool steady = options_.schedule == "constant" && options_.warmup == 0;
  if (!optimizer_.takes_schedule() && !steady)
    say(fmt::format("{} makes its own step size: schedule and warm-up have no effect",
                    optimizer_.name()));
}

void Trainer::evaluate() {
  if (!objective_.evaluate || evaluated_at_ == accelerator_.steps()) return;
  {
    const During evaluation(accelerator_.time(), Part::evaluation);
    const NoGrad no_grad;
    EvaluationRecord record = accelerator_.observe(
        needing_memory([&] { return objective_.evaluate(); }, "train: evaluation after step {}",
                       accelerator_.steps()),
        options_.metric);
    if (options_.non_finite == NonFinite::stop && !tells(record.dev, options_.metric))
      fail_training(
          "train: the loss on dev is {} after step {}, though every weight is finite: they are too "
          "large; lower the learning rate or clip the gradients",
          record.dev.loss, record.step);
    if (result_.best ? is_better(record.dev, result_.best_dev, options_.metric)
                     : tells(record.dev, options_.metric)) {
      result_.best = result_.evaluations.size();
      result_.best_dev = record.dev;
      copy_values(objective_.parameters, best_values_);
      without_better_ = 0;
    } else {
      ++without_better_;
    }
    record.dev = Evaluation::from_json(record.dev.scores());  // the best keeps its matrix
    result_.evaluations.push_back(std::move(record));
    evaluated_at_ = accelerator_.steps();
  }
  const During logging(accelerator_.time(), Part::logging);
  const EvaluationRecord& record = result_.evaluations.back();
  if (board_) {
    std::vector<std::pair<std::string, double>> scores;
    const Json dev = record.dev.scores();
    for (const auto& [name, value] : dev.items())
      scores.emplace_back("dev/" + name, value.get<double>());
    board_->write(record.step, scores);
  }
  tell(&Callback::evaluation, record);
}

// --- checkpoints --------------------------------------------------------------------------------

bool Trainer::save_is_due() const {
  if (options_.save_every)
    return *options_.save_every > 0 && accelerator_.steps() % *options_.save_every == 0;
  return since_save_.seconds() > std::max(kSaveSeconds, kSaveMultiple * save_seconds_);
}

std::string Trainer::device() const {
  return to_string(objective_.parameters.front()->value.device());
}

void Trainer::save() {
  if (directory_.empty() || accelerator_.steps() == 0) return;
  const Stopwatch clock;
  const During writing(accelerator_.time(), Part::checkpoints);
  Json state = {{"options", to_json(options_)},
                {"fingerprints", objective_.fingerprints},
                {"device", device()},
                {"evaluated_at", evaluated_at_},
                {"without_better", without_better_},
                {"best", result_.best ? Json(*result_.best) : Json(nullptr)}};
  if (result_.best) {
    const EvaluationRecord& best = result_.evaluations[*result_.best];
    state.update({{"best_dev", result_.best_dev.to_json()},
                  {"best_epoch", best.epoch},
                  {"best_step", best.step}});
  }
  const auto folder = accelerator_.checkpoint(
      directory_, {.fill = [&](const std::filesystem::path& to) { fill(to); },
                   .state = {{"trainer", std::move(state)}, {"run", run_json}},
                   .bytes = best_bytes(),
                   .keep = options_.keep});
  save_due_ = false;
  since_save_.restart();
  save_seconds_ = clock.seconds();
  tell(&Callback::checkpoint, folder);
}

void Trainer::fill(const std::filesystem::path& folder) const {
  if (objective_.save_model)
    objective_.save_model(folder);
  else
    nn::save_parameters(folder / "model.safetensors", objective_.parameters);
  if (!result_.best) return;
  // Though they seldom change, each checkpoint has a file of its own: one damaged file then spoils one checkpoint.
  std::vector<NamedTensor> best = nn::values_of(objective_.parameters);
  for (std::size_t i = 0; i < best.size(); ++i) best[i].tensor = best_values_[i];
  save_safetensors(folder / kBest, best);
  check_written(folder / kBest, best);
}

bool Trainer::resume() {
  check(!directory_.empty(), "resume: the trainer has no run directory");
  accelerator_.time().restart();
  const During reading(accelerator_.time(), Part::checkpoints);
  const std::optional<Checkpoint> found =
      newest_checkpoint(directory_, [&](const std::string& text) { say(text); });
  if (!found) {
    say(fmt::format("{} has no checkpoint: training begins anew", directory_.string()));
    accelerator_.log_to(directory_, Earlier::replaced);
    write_run();
    return false;
  }
  try {
    restore(*found);
    restore_log(*found);
    restore_best(*found);
  } catch (const Json::exception& error) {
    const std::string what = error.what();  // "[json.exception.…] what is missing"
    fail(
        "{}: is of another version of minima, or no trainer's: {}; go on with that version, or "
        "begin anew in another folder",
        (found->folder / "state.json").string(), what.substr(what.find("] ") + 2));
  }
  write_run();
  say(fmt::format("going on from {}: {} of {} steps are taken", found->folder.string(),
                  accelerator_.steps(), total_steps()));
  return true;
}

void Trainer::write_run() const {
  if (!run_json.is_null()) minima::write_run(directory_, run_json);
}

void Trainer::restore(const Checkpoint& checkpoint) {
  const Json &state = checkpoint.state.at("trainer"), mine = to_json(options_);
  check_unchanged(objective_.fingerprints, state.at("fingerprints"));
  const Json defaults = to_json(TrainingOptions{});  // of what an earlier version did not have
  for (const auto& [key, value] : mine.items())
    if (!is_free(key)) check_same(key, value, state.at("options").value(key, defaults[key]));
  const i64 changed_at = checkpoint.state.at("accelerator").at("changed_at").get<i64>();
  if (changed_at > 0) {
    check(switches_.contains(changed_at), "resume: no change of the optimizer after step {}",
          changed_at);
    const std::string& spec = switches_.at(changed_at);
    optimizer_ = made(spec);
    tell(&Callback::optimizer, spec);
  }
  accelerator_.resume(checkpoint);
  const std::string before = state.value("device", device());
  const Json run = checkpoint.state.value("run", Json::object());
  if (before != device())
    say(fmt::format(
        "begun on {}, the run goes on on {}: from here on numbers agree within rounding, not bit "
        "for bit",
        before, device()));
  else if (!run_json.is_null() && run.is_object() && run.contains("peak_bytes"))
    run_json["peak_bytes"] = run["peak_bytes"];
  evaluated_at_ = state.at("evaluated_at").get<i64>();
  without_better_ = state.at("without_better").get<i64>();
  if (state.at("best").is_null()) return;
  const SafetensorsFile file(checkpoint.folder / kBest);
  best_values_.clear();
  for (const Parameter* parameter : objective_.parameters) {
    best_values_.push_back(file.read(parameter->name));
    check(best_values_.back().shape() == parameter->value.shape(), "{}: '{}' is {}, not {}",
          (checkpoint.folder / kBest).string(), parameter->name, best_values_.back().shape(),
          parameter->value.shape());
  }
}

/// Training needs nothing of the log: it goes on where lines are lost.
void Trainer::restore_log(const Checkpoint& checkpoint) {
  LoggedRecords records = accelerator_.log_to(directory_);
  const auto written = checkpoint.state.at("metrics_bytes").get<u64>();
  if (const u64 here = records.lines.size(); here < written)
    say(fmt::format(
        "{}: {} of {} bytes are damaged or gone, and with them {} of {} steps: training goes on, "
        "the report will lack them",
        (directory_ / "metrics.jsonl").string(), written - here, written,
        accelerator_.steps() - std::ssize(records.steps), accelerator_.steps()));
  static_cast<TrainingRecords&>(result_) = std::move(records);
}

/// The best evaluation, put in its place where the log has lost it.
void Trainer::restore_best(const Checkpoint& checkpoint) {
  const Json& state = checkpoint.state.at("trainer");
  if (state.at("best").is_null()) return;
  result_.best_dev = Evaluation::from_json(state.at("best_dev"));
  std::vector<EvaluationRecord>& all = result_.evaluations;
  result_.best = state["best"].get<std::size_t>();
  const i64 step = state.contains("best_step")  ? state["best_step"].get<i64>()
                   : *result_.best < all.size() ? all[*result_.best].step
                                                : 0;
  const auto place = std::ranges::lower_bound(all, step, {}, &EvaluationRecord::step);
  result_.best = static_cast<std::size_t>(place - all.begin());
  if (place == all.end() || place->step != step)
    all.insert(place, {state.value("best_epoch", i64{0}), step, std::nan(""), result_.best_dev, 0});
}

}  // namespace minima
