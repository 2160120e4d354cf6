#include "train/accelerator.hpp"

#include <cmath>
#include <set>

#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/files/safetensors.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/finite.hpp"
#include "core/text/grouped.hpp"
#include "nn/module.hpp"

namespace minima {

i64 total_steps(const Batches& batches, i64 epochs, i64 accumulate) {
  check_accumulate(accumulate, /*update_in_backward=*/false);
  i64 steps = 0;
  for (i64 epoch = 0; epoch < epochs; ++epoch)
    steps += ceil_div(std::ssize(batches(epoch)), accumulate);
  return steps;
}

Accelerator::Accelerator(AcceleratorOptions options)
    : options_(std::move(options)),
      schedule_(parse_schedule(options_.schedule)),
      plateau_(schedule_.plateau),
      scale_(options_.precision, options_.non_finite) {
  check_accumulate(options_.accumulate, options_.update_in_backward);
  check(options_.warmup >= 0 && options_.warmup < 1,
        "warmup is {}, a share of all steps; it must be at least 0 and below 1 (of 600 steps 30 "
        "are 0.05)",
        options_.warmup);
  if (options_.update_in_backward) {
    check(options_.non_finite == NonFinite::stop,
          "update-in-backward: a step of which a part is done cannot be skipped; take non-finite "
          "stop");
    check_update_in_backward(options_.precision, Device{});
  }
  check(options_.watch >= 0, "watch is {}; it must be at least 0 (0: never)", options_.watch);
}

void Accelerator::prepare(std::vector<Parameter*> parameters, Optimizer& optimizer, Batches batches,
                          i64 steps) {
  check(optimizer_ == nullptr,
        "accelerator: prepare was called before; another training takes another accelerator");
  check(steps > 0, "accelerator: {} steps; there must be at least one", steps);
  check(bool(batches), "accelerator: prepare was given no batches");
  std::set<std::string> given;
  for (const Parameter* parameter : parameters) {
    const Device device = parameter->value.device();
    check_precision(options_.precision, device);
    if (options_.update_in_backward) check_update_in_backward(options_.precision, device);
    given.insert(parameter->name);
  }
  for (const ParameterShape& own : optimizer.parameters())
    check(given.contains(own.name),
          "accelerator: the optimizer has '{}', which is not among the parameters: its gradient "
          "would never be cleared",
          own.name);
  parameters_ = std::move(parameters);
  batches_ = std::move(batches);
  total_ = schedule_.total = steps;
  if (schedule_.takes_warmup())
    schedule_.warmup = std::llround(options_.warmup * static_cast<double>(steps));
  for (Parameter* parameter : parameters_) parameter->gradient.clear();
  time_.restart();
  optimizer_ = &optimizer;
}

void Accelerator::require_prepared() const {
  check(optimizer_ != nullptr, "accelerator: prepare has not been called");
}

void Accelerator::begin_epoch(i64 epoch) {
  epoch_ = epoch;
  batches_now_ = batches_(epoch - 1);
  check(!batches_now_.empty(), "accelerator: epoch {} has no batches", epoch);
  place_ = 0;
}

bool Accelerator::next() {
  require_prepared();
  check(place_ == step_place_ || heard_,
        "accelerator: batch {} of epoch {} got no backward(); what is not to be trained on must "
        "not be among the batches that prepare() takes",
        place_, epoch_);
  check(place_ == step_place_ || more_,
        "accelerator: the batch before was the last of its step, which was not taken; call step()");
  if (step_ == total_) return false;
  if (at_hand_.weight == 0) {  // a step begins
    time_.enter(TimeSpent::Part::steps);
    step_clock_.restart();
    if (epoch_ended()) begin_epoch(epoch_ + 1);
    step_place_ = place_;
  }
  if (options_.precision == Precision::tf32 && !tf32_) tf32_.emplace();
  indices_ = batches_now_[place_++];
  heard_ = false;
  more_ = !epoch_ended() && static_cast<i64>(place_ - step_place_) < options_.accumulate;
  return true;
}

void Accelerator::backward(const Variable& loss, double weight, i64 tokens) {
  check(weight > 0 && std::isfinite(weight), "backward: a batch of weight {}; it must be positive",
        weight);
  check(loss.defined() && loss.value().size() == 1,
        "accelerator: the loss is {}, not a single number; take its mean", loss.shape());
  check(place_ > step_place_ && !heard_,
        "accelerator: backward() without a batch at hand: each next() is followed by one; add the "
        "losses of a batch up");
  const double first = at_hand_.weight == 0 ? weight : at_hand_.first_weight;
  const Device device = loss.value().device();
  const bool here = device == Device{};
  const double sum =
      here ? without_sign_of_nan(at_hand_.loss + weight * loss.value().item()) : at_hand_.loss;
  const bool bad = at_hand_.bad || !std::isfinite(sum);
  check(!at_hand_.torn, "accelerator: a backward() ended half way, and left a part of {}",
        options_.update_in_backward
            ? "the weights updated; resume from a checkpoint"
            : "its gradient; restore(state()) begins the step anew without it");
  if (!bad) {
    const Tensor dy = Tensor::full(loss.shape(), static_cast<float>(scale_.value * weight / first),
                                   DType::f32, device);
    at_hand_.torn = loss.requires_grad();  // else backward refuses it before it begins
    if (options_.update_in_backward) {
      at_hand_.updated = update_in_backward(loss, dy, *optimizer_, parameters_,
                                            {.lr_factor = lr_factor(),
                                             .clip_norm = clip_norm_,
                                             .clip_value = clip_value_,
                                             .watch = watches()});
    } else {
      loss.backward(dy);
    }
    at_hand_.torn = false;
  }
  // Only now: what backward refuses can be called anew.
  heard_ = true;
  at_hand_.first_weight = first, at_hand_.weight += weight;
  at_hand_.texts += std::ssize(indices_), at_hand_.tokens += tokens;
  at_hand_.loss = sum, at_hand_.bad = bad;
  if (!here) {
    const Tensor share = ops::binary<ops::Mul>(
        loss.value().to(DType::f64), Tensor::full(loss.shape(), weight, DType::f64, device));
    at_hand_.loss_there =
        at_hand_.loss_there.defined() ? ops::binary<ops::Add>(at_hand_.loss_there, share) : share;
  }
  if (at_hand_.bad && options_.non_finite == NonFinite::stop) refuse_bad_loss(step_ + 1);
}

void Accelerator::refuse_after_update(const char* what) const {
  check(!at_hand_.updated,
        "accelerator: with update_in_backward backward() takes the step; call {} before it", what);
}

void Accelerator::clip(double norm, double value) {
  check(
      !options_.update_in_backward || norm == 0,
      "update-in-backward: the gradient's norm is known only when every weight is changed; clip 0, "
      "with clip-value where it must be cut, or leave update-in-backward out");
  refuse_after_update("clip()");
  clip_norm_ = norm, clip_value_ = value;
}

double Accelerator::lr_factor() const {
  double factor = optimizer_->takes_schedule() ? schedule_.factor(step_) * plateau_.factor() : 1;
  if (const i64 since = step_ - changed_at_; since < restart_warmup_)
    factor *= static_cast<double>(since + 1) / static_cast<double>(restart_warmup_);
  return factor;
}

bool Accelerator::watches() const {
  const bool just_changed = changed_at_ > 0 && step_ - changed_at_ < kWatchedAfterSwitch;
  return (options_.watch > 0 && (step_ + 1) % options_.watch == 0) || just_changed;
}

void Accelerator::refuse_bad_loss(i64 step) {
  const bool stops = options_.non_finite == NonFinite::stop;
  if (stops || skipped_in_row_ == 0) ring({step, Alarm::Of::loss, "", at_hand_.loss, 0});
  if (stops)
    fail_training(
        "train: the loss is {} in step {}{}; a lower learning rate or a longer warm-up may help",
        at_hand_.loss, step, origin_of_non_finite());
}

StepReport Accelerator::take_step(double lr_factor) {
  StepReport report;
  if (at_hand_.updated) {
    report = std::move(at_hand_.updated->report);
  } else if (!at_hand_.bad) {
    report = optimizer_->step(
        {.lr_factor = lr_factor,
         .clip_norm = clip_norm_,
         .clip_value = clip_value_,
         .gradient_scale = at_hand_.first_weight / (at_hand_.weight * scale_.value),
         .measure_norm = true,
         .skip_non_finite = true,
         .loss = at_hand_.loss_there,
         .watch = watches()});
    report.read();  // a GPU's step is waited for here, and nowhere before
    at_hand_.loss = without_sign_of_nan(report.loss.value_or(at_hand_.loss));
    at_hand_.bad = !std::isfinite(at_hand_.loss);
  }
  if (at_hand_.bad) {
    report = {};
    report.skipped = true;
  }
  return report;
}

void Accelerator::watch(const StepReport& report, double lr_factor) {
  time_.move(report.watch_seconds, TimeSpent::Part::steps, TimeSpent::Part::logging);
  const TimeSpent::During watching(time_, TimeSpent::Part::logging);
  for (Alarm& alarm : watch_.observe(step_, lr_factor, report)) {
    alarm.eight_bit = std::ranges::any_of(optimizer_->state().slots, [&](const PlannedSlot& slot) {
      return slot.parameter == alarm.tensor && slot.storage == Storage::block8;
    });
    ring(alarm);
  }
  if (!at_hand_.bad && !std::exchange(gradients_seen_, true))
    for (const Parameter* parameter : parameters_)
      if (parameter->trainable && !parameter->gradient &&
          !(at_hand_.updated && at_hand_.updated->parameters.contains(parameter)))
        ring({step_, Alarm::Of::no_gradient, parameter->name});
}

void Accelerator::count_skipped(const StepReport& report) {
  if (report.skipped && options_.non_finite == NonFinite::stop && !scale_.falls)
    fail_training(
        "train: the norm of the gradient is {} in step {}{}; a lower learning rate or a longer "
        "warm-up may help",
        without_sign_of_nan(report.grad_norm.value_or(0)), step_, origin_of_non_finite());
  skipped_in_row_ = report.skipped ? skipped_in_row_ + 1 : 0;
  if (skipped_in_row_ > kMostSkipped)
    fail_training("train: {} steps in a row were skipped, the last is {}{}", skipped_in_row_, step_,
                  origin_of_non_finite());
}

StepRecord Accelerator::step() {
  check(at_hand_.weight > 0 && heard_ && !more_,
        "accelerator: step() before backward() has seen all {} batches", options_.accumulate);
  tf32_.reset();
  const double lr_factor = this->lr_factor();
  const StepReport report = take_step(lr_factor);
  ++step_;
  if (at_hand_.bad) refuse_bad_loss(step_);
  watch(report, lr_factor);
  count_skipped(report);
  const double scale = scale_.value;
  scale_.count(report.skipped);
  for (Parameter* parameter : parameters_) parameter->gradient.clear();
  // A step looks at the weights while it moves them. One that was skipped has not, and they may be why it was.
  if (report.bad_weights || report.skipped) refuse_bad_weights();
  StepRecord record{step_,
                    epoch_,
                    at_hand_.loss / at_hand_.weight,
                    lr_factor,
                    report.grad_norm.value_or(std::nan("")),
                    report.clipped,
                    1000 * step_clock_.seconds(),
                    at_hand_.texts,
                    at_hand_.tokens,
                    report.tensors,
                    report.skipped,
                    scale};
  if (!report.skipped) loss_sum_ += at_hand_.loss, weight_sum_ += at_hand_.weight;
  at_hand_ = {};
  step_place_ = place_;
  write(record);
  time_.enter(TimeSpent::Part::loop);
  return record;
}

EvaluationRecord Accelerator::observe(const Evaluation& evaluation, const std::string& metric) {
  refuse_after_update("observe()");
  if (schedule_.kind == "plateau") {
    const bool falls = schedule_.plateau.mode == ReduceOnPlateau::Mode::min;
    const bool rises = !metric.empty() && higher_is_better(metric);
    plateau_.step(falls ? evaluation.loss : evaluation.score(rises ? metric : "accuracy"));
  }
  EvaluationRecord record{epoch_, step_, without_sign_of_nan(loss_sum_ / weight_sum_), evaluation,
                          seconds()};
  loss_sum_ = weight_sum_ = 0;
  write(record);
  return record;
}

LoggedRecords Accelerator::log_to(const std::filesystem::path& run, Earlier earlier) {
  require_prepared();
  if (!logged_ && earlier == Earlier::refused) refuse_earlier_run(run);
  make_folders(run);
  if (!logged_) remove_checkpoints(run);  // the earlier run's, which would be taken for this one's
  const std::filesystem::path file = run / "metrics.jsonl";
  LoggedRecords records = logged_ ? read_metrics(file, *logged_, step_) : LoggedRecords{};
  if (records.lines.size() < logged_.value_or(0)) write_file(file, records.lines);
  log_.emplace(file, records.lines.size());
  if (!records.run.empty()) return records;
  write({{"run",
          {{"optimizer", optimizer_->name()},
           {"options", optimizer_->options()},
           {"state_elements", optimizer_->state_elements()},
           {"state_bytes", optimizer_->state_bytes()},
           {"seed", options_.seed},
           {"steps", total_},
           {"schedule", options_.schedule},
           {"warmup", options_.warmup},
           {"accumulate", options_.accumulate},
           {"precision", name_of(options_.precision)}}}});
  return records;
}

void Accelerator::log(const Json& line) {
  check_callers_line(line);
  write(line);
}

SwitchRecord Accelerator::change_optimizer(Optimizer next, std::string spec) {
  require_prepared();
  refuse_after_update("change_optimizer()");
  if (spec.empty()) spec = next.name();
  SwitchRecord record{step_, optimizer_->name(), std::move(spec), 0,
                      convert_state(*optimizer_, next)};
  *optimizer_ = std::move(next);
  // A rule with its own step size takes no warm-up. A warm-up that is under way is not cut short, but begins anew.
  const i64 left = changed_at_ + restart_warmup_ - step_;
  record.warmup = restart_warmup_ =
      optimizer_->takes_schedule() ? std::max(left, restart_warmup(record.slots, total_ - step_))
                                   : 0;
  changed_at_ = step_;
  watch_.restart();
  write(Json{{"switch", record.to_json()}});
  return record;
}

std::string Accelerator::bad_weight() const {
  for (const Parameter* parameter : parameters_)
    if (const i64 at = ops::first_non_finite(parameter->value); at >= 0)
      return fmt::format("the weight '{}' is not finite at element {}", parameter->name, at);
  return "";
}

std::string Accelerator::origin_of_non_finite() const {
  if (const std::string bad = bad_weight(); !bad.empty()) return ": " + bad;
  // Not once backward() has changed a part of the weights: the repeated step would compute with those.
  if (explain_non_finite && !at_hand_.updated)
    if (const std::string found = explain_non_finite(); !found.empty()) return ": " + found;
  for (const Parameter* parameter : parameters_)
    if (parameter->gradient && ops::first_non_finite(parameter->gradient.values()) >= 0)
      return fmt::format(", first in that of '{}'", parameter->name);
  return "";
}

void Accelerator::refuse_bad_weights() const {
  const std::string bad = bad_weight();
  if (bad.empty()) return;
  bool divides = false;  // by a root to which nothing is added
  const Json options = optimizer_->options();
  for (const Json& group : options["groups"])
    for (const char* eps : {"eps", "eps1", "eps2"})
      divides |= group["options"].value(eps, Json()) == 0;
  fail_training(
      "train: {} after the update of step {} by {}; {}a lower learning rate may help", bad, step_,
      optimizer_->name(),
      divides ? "an eps above 0 (where every gradient was 0 the rule divides 0 by 0) or " : "");
}

void Accelerator::ring(const Alarm& alarm) {
  const TimeSpent::During ringing(time_, TimeSpent::Part::logging);
  write(Json{{"alarm", alarm.to_json()}});
  if (on_alarm) on_alarm(alarm);
}

i64 Accelerator::checkpoint_bytes() const {
  require_prepared();
  i64 bytes = optimizer_->state_bytes() + (1 << 20);
  for (const Parameter* parameter : parameters_) bytes += parameter->value.bytes();
  return bytes;
}

std::filesystem::path Accelerator::checkpoint(const std::filesystem::path& run,
                                              const CheckpointExtras& extras) {
  require_prepared();
  const TimeSpent::During writing(time_, TimeSpent::Part::checkpoints);
  refuse_bad_weights();
  for (const NamedTensor& slot : optimizer_->tensors())
    if (ops::first_non_finite(slot.tensor) >= 0)
      fail_training("checkpoint of step {}: '{}' of {}'s state is not finite; nothing was written",
                    step_, slot.name, optimizer_->name());
  Json all = {{"accelerator", state()},
              {"optimizer", optimizer_->options()},
              {"metrics_bytes", log_ ? log_->flush() : logged_.value_or(0)},
              {"time", time_.to_json()}};
  all.update(extras.state);
  const std::vector<NamedTensor> values = nn::values_of(parameters_);
  const i64 keep = skipped_in_row_ > 0 ? 0 : extras.keep;
  return write_checkpoint(run, step_, all, checkpoint_bytes() + extras.bytes, keep,
                          [&](const auto& folder) {
                            const auto model = folder / "model.safetensors",
                                       optimizer = folder / "optimizer.safetensors";
                            if (extras.fill)
                              extras.fill(folder);
                            else
                              save_safetensors(model, values);
                            optimizer_->save(optimizer);
                            check_written(model, values);
                            check_written(optimizer, optimizer_->tensors());
                          });
}

void Accelerator::resume(const Checkpoint& checkpoint) {
  check(checkpoint.state.is_object() && checkpoint.state.contains("accelerator"),
        "{}: state.json has no 'accelerator'", checkpoint.folder.string());
  check(!log_, "accelerator: log_to() before resume() has begun the log anew; call it afterwards");
  const Json before = state();
  const bool torn = at_hand_.torn;
  restore(checkpoint.state["accelerator"]);
  try {
    const std::filesystem::path model = checkpoint.folder / "model.safetensors";
    nn::check_parameters(parameters_, model);  // before the optimizer's state is another
    optimizer_->load(checkpoint.folder / "optimizer.safetensors");
    nn::load_parameters(parameters_, model);
  } catch (...) {
    restore(before);
    at_hand_.torn = torn;
    throw;
  }
  logged_ = checkpoint.state.value("metrics_bytes", u64{0});
  // Older versions wrote the seconds alone.
  time_.resume(
      checkpoint.state.value("time", Json{{"seconds", checkpoint.state.value("seconds", 0.0)}}));
}

Json Accelerator::state() const {
  return {{"step", step_},
          {"total_steps", total_},
          {"epoch", epoch_},
          {"batch", step_place_},  // of the epoch, counted from 0: the first of the next step
          {"seed", options_.seed},
          {"accumulate", options_.accumulate},
          {"schedule", options_.schedule},
          {"warmup", options_.warmup},
          {"precision", name_of(options_.precision)},
          {"plateau", plateau_.state()},
          {"watch", watch_.state()},
          {"changed_at", changed_at_},
          {"restart_warmup", restart_warmup_},
          {"scale", scale_.value},
          {"good_steps", scale_.good_steps},
          {"skipped_in_row", skipped_in_row_},
          {"loss_sum", loss_sum_},
          {"weight_sum", weight_sum_}};
}

void Accelerator::restore(const Json& state) {
  require_prepared();
  const Json mine = this->state();
  for (const auto& [key, value] : mine.items())
    check(state.is_object() && state.contains(key) &&
              (value.type() == state[key].type() ||
               (value.is_number_integer() && state[key].is_number_integer())),
          "resume: the state has no '{}', or one of another kind", key);
  for (const char* key : {"total_steps", "seed", "accumulate", "schedule", "warmup", "precision"})
    check_same(key, mine[key], state[key]);
  const auto count = [&](const char* key, i64 most) {
    const i64 n = state[key].get<i64>();
    check(n >= 0 && n <= most, "resume: {} is {} in the checkpoint; it must lie between 0 and {}",
          key, n, most);
    return n;
  };
  const i64 step = count("step", total_), epoch = count("epoch", total_),
            changed_at = count("changed_at", step), rise = count("restart_warmup", total_);
  count("batch", epoch > 0 ? std::ssize(batches_(epoch - 1)) : 0);
  // Checkpoints of earlier versions went on counting at the greatest scale; the next step forgets that.
  const i64 good = count("good_steps", step), skipped = count("skipped_in_row", kMostSkipped);
  const double scale = state["scale"].get<double>();
  check(scale > 0 && scale <= scale_.greatest,
        "resume: scale is {} in the checkpoint; it must lie in (0, {}]", scale, scale_.greatest);
  ReduceOnPlateau plateau(schedule_.plateau);
  plateau.restore(state["plateau"]);
  watch_.restore(state["watch"]);
  plateau_ = plateau;
  step_ = step;
  changed_at_ = changed_at;
  restart_warmup_ = rise;
  scale_.value = scale;
  scale_.good_steps = good;
  skipped_in_row_ = skipped;
  loss_sum_ = state["loss_sum"].get<double>();
  weight_sum_ = state["weight_sum"].get<double>();
  gradients_seen_ = step > 0;
  epoch_ = epoch;
  batches_now_.clear();  // of no epoch, before the first
  if (epoch > 0) begin_epoch(epoch);
  place_ = step_place_ = state["batch"].get<std::size_t>();
  at_hand_ = {};
  tf32_.reset();
  more_ = false;
  for (Parameter* parameter : parameters_) parameter->gradient.clear();
}

}  // namespace minima
