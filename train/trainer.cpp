#include "train/trainer.hpp"

#include <chrono>
#include <cmath>

#include "autograd/functions.hpp"
#include "optim/schedule.hpp"

namespace minima {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Tokens that an evaluation holds at once: enough to keep the cores busy, little enough to stay in
/// cache.
constexpr i64 kEvaluationTokens = 2048;

BatchSize evaluation_batch(const TokenizedSplit& split) {
  i64 longest = 0;
  for (i64 i = 0; i < split.size(); ++i) longest = std::max(longest, split.length(i));
  return BatchSize::of_tokens(std::max(kEvaluationTokens, longest));
}

bool better(const Evaluation& a, const Evaluation& b) {
  return a.accuracy() != b.accuracy() ? a.accuracy() > b.accuracy() : a.loss < b.loss;
}

/// The gradient of the mean loss over the texts of some batches, and that loss.
struct Accumulated {
  double loss = 0;
  i64 texts = 0, tokens = 0;
};

Accumulated accumulate_gradients(const nn::DistilBertClassifier& model, const TokenizedSplit& split,
                                 std::span<const std::vector<i64>> batches, const nn::Pass& pass) {
  Accumulated sum;
  for (const std::vector<i64>& indices : batches) sum.texts += std::ssize(indices);
  for (const std::vector<i64>& indices : batches) {
    const Batch batch = make_batch(split, indices);
    const Variable loss = cross_entropy(model(batch, pass), batch.labels);
    const double share = static_cast<double>(batch.texts()) / static_cast<double>(sum.texts);
    sum.loss += share * loss.value().item();
    if (!std::isfinite(sum.loss)) return sum;  // there is nothing to learn from it
    loss.backward(Tensor::full(loss.shape(), static_cast<float>(share)));
    sum.tokens += batch.tokens.size();
  }
  return sum;
}

/// The optimizer that trains at present, and when it is another's turn.
class Turns {
 public:
  Turns(const std::vector<OptimizerSwitch>& switches, i64 total)
      : switches_(by_step(switches, total)), total_(total) {}

  /// After `step` steps: changes `optimizer` if it is time.
  std::optional<SwitchRecord> change(Optimizer& optimizer, i64 step,
                                     nn::DistilBertClassifier& model,
                                     const TrainingOptions& options,
                                     const TrainingObserver& observer) {
    const auto due = switches_.find(step);
    if (due == switches_.end()) return {};
    if (observer.checkpoint) observer.checkpoint(optimizer, step);
    Optimizer next = make_optimizer(due->second, parameter_groups(model, due->second, options));
    SwitchRecord record{step, optimizer.name(), next.name(), 0, convert_state(optimizer, next)};
    optimizer = std::move(next);
    // One that makes its own step size heeds no warm-up.
    record.warmup = warmup_ =
        optimizer.takes_schedule() ? restart_warmup(record.slots, total_ - step) : 0;
    last_ = step;
    if (observer.switched) observer.switched(record);
    return record;
  }

  /// On the learning rate of the step after `step` steps.
  double warmup_factor(i64 step) const {
    return step - last_ < warmup_
               ? static_cast<double>(step - last_ + 1) / static_cast<double>(warmup_)
               : 1;
  }
  bool just_changed(i64 step) const { return last_ > 0 && step - last_ < kWatchedAfterSwitch; }

 private:
  std::map<i64, std::string> switches_;  ///< specs, by the steps before them
  i64 total_, last_ = 0, warmup_ = 0;
};

/// ", first in that of 'embeddings.weight'", or nothing where every entry is finite.
std::string first_non_finite(const std::vector<Parameter*>& parameters) {
  for (const Parameter* parameter : parameters)
    if (parameter->gradient)
      for (const float x : parameter->gradient.values().span<float>())
        if (!std::isfinite(x)) return fmt::format(", first in that of '{}'", parameter->name);
  return "";
}

std::vector<Tensor> copy_values(const std::vector<Parameter*>& parameters) {
  std::vector<Tensor> values;
  for (const Parameter* parameter : parameters) values.push_back(parameter->value.clone());
  return values;
}

}  // namespace

void validate(const TrainingOptions& options) {
  check(options.epochs > 0 && options.epochs <= 100'000,
        "epochs is {}; it must lie between 1 and 100,000", options.epochs);
  check(options.warmup >= 0 && options.warmup < 1,
        "warmup is {}, a share of all steps; it must be at least 0 and below 1", options.warmup);
  check(options.clip_norm >= 0, "clip is {}; it must be at least 0 (0: not clipped)",
        options.clip_norm);
  parse_schedule(options.schedule);
  check(options.clip_value >= 0, "clip-value is {}; it must be at least 0 (0: not cut)",
        options.clip_value);
  check(options.accumulate > 0 && options.accumulate <= 1'000'000,
        "accumulate is {} batches; it must lie between 1 and 1,000,000", options.accumulate);
  check(options.watch >= 0, "watch is {}; it must be at least 0 (0: never)", options.watch);
  for (const OptimizerSwitch& next : options.switches) validate_optimizer(next.spec, options);
}

void validate_optimizer(const std::string& spec, const TrainingOptions& options) {
  std::vector<ParameterGroup> empty{{{}, ""}};
  for (const GroupPattern& group : options.groups) empty.push_back({{}, group.options});
  make_optimizer(spec, empty);
}

i64 total_steps(const TrainingData& data, const TrainingOptions& options) {
  const auto quotient = [](i64 a, i64 b) { return (a + b - 1) / b; };  // rounded up
  if (options.batch.texts > 0)
    return options.epochs *
           quotient(quotient(data.train.size(), options.batch.texts), options.accumulate);
  i64 steps = 0;
  for (i64 epoch = 0; epoch < options.epochs; ++epoch)
    steps += quotient(std::ssize(epoch_batches(data.train, options.batch, options.seed, epoch)),
                      options.accumulate);
  return steps;
}

std::vector<ParameterGroup> parameter_groups(nn::DistilBertClassifier& model,
                                             const std::string& spec,
                                             const TrainingOptions& options) {
  return group_by_pattern(decay_groups(model.parameters(), spec), options.groups);
}

TrainingResult train(nn::DistilBertClassifier& model, Optimizer& optimizer,
                     const TrainingData& data, const TrainingOptions& options,
                     const TrainingObserver& observer) {
  validate(options);
  const std::vector<Parameter*> parameters = model.parameters();
  const i64 total = total_steps(data, options);
  Schedule schedule = parse_schedule(options.schedule);
  schedule.total = total;
  if (schedule.takes_warmup())
    schedule.warmup = std::llround(options.warmup * static_cast<double>(total));
  ReduceOnPlateau plateau(schedule.plateau);
  Turns turns(options.switches, total);
  Watch watch;
  const Stopwatch clock;
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  std::vector<Alarm> alarms;
  std::vector<SwitchRecord> switches;
  std::vector<Tensor> best_values;
  std::size_t best = 0;
  const auto raise = [&](std::vector<Alarm> rung) {
    for (Alarm& alarm : rung) {
      if (observer.alarm) observer.alarm(alarm);
      alarms.push_back(std::move(alarm));
    }
  };

  i64 step = 0;
  for (i64 epoch = 1; epoch <= options.epochs; ++epoch) {
    double loss_sum = 0;
    const std::vector<std::vector<i64>> batches =
        epoch_batches(data.train, options.batch, options.seed, epoch - 1);
    for (std::span<const std::vector<i64>> rest(batches); !rest.empty();) {
      const Stopwatch step_clock;
      const auto now =
          rest.first(std::min(rest.size(), static_cast<std::size_t>(options.accumulate)));
      rest = rest.subspan(now.size());
      const bool watched =
          (options.watch > 0 && (step + 1) % options.watch == 0) || turns.just_changed(step);
      const double lr_factor = schedule.factor(step) * plateau.factor() * turns.warmup_factor(step);
      ++step;
      const Accumulated sum = accumulate_gradients(
          model, data.train, now, {.training = true, .seed = options.seed, .step = step});
      if (!std::isfinite(sum.loss)) {
        raise({{step, Alarm::Of::loss, "", sum.loss, 0}});
        fail_at_run_time(
            "train: the loss is {} in step {}; a lower learning rate or a longer warm-up may help",
            sum.loss, step);
      }
      const StepReport report = optimizer.step({.lr_factor = lr_factor,
                                                .clip_norm = options.clip_norm,
                                                .clip_value = options.clip_value,
                                                .measure_norm = true,
                                                .skip_non_finite = true,
                                                .watch = watched});
      raise(watch.observe(step, optimizer.takes_schedule() ? lr_factor : 1, report));
      if (report.skipped)
        fail_at_run_time(
            "train: the norm of the gradient is {} in step {}{}; a lower learning rate or a longer "
            "warm-up may help",
            report.grad_norm.value_or(0), step, first_non_finite(parameters));
      for (Parameter* parameter : parameters) parameter->gradient.clear();

      steps.push_back({step, epoch, sum.loss, lr_factor, report.grad_norm.value_or(0),
                       report.clipped, 1000 * step_clock.seconds(), sum.texts, sum.tokens,
                       report.tensors});
      loss_sum += sum.loss * static_cast<double>(sum.texts);
      if (observer.step) observer.step(steps.back(), total);
      if (auto record = turns.change(optimizer, step, model, options, observer)) {
        watch.restart();
        switches.push_back(std::move(*record));
      }
    }
    epochs.push_back({epoch, step, loss_sum / static_cast<double>(data.train.size()),
                      evaluate(model, data.dev), clock.seconds()});
    if (schedule.kind == "plateau")
      plateau.step(schedule.plateau.mode == ReduceOnPlateau::Mode::min
                       ? epochs.back().dev.loss
                       : epochs.back().dev.accuracy());
    if (epoch == 1 || better(epochs.back().dev, epochs[best].dev)) {
      best = epochs.size() - 1;
      best_values = copy_values(parameters);
    }
    if (observer.epoch) observer.epoch(epochs.back());
  }
  for (std::size_t i = 0; i < parameters.size(); ++i)
    parameters[i]->value.copy_from(best_values[i]);
  Evaluation dev = epochs[best].dev;
  Evaluation test = evaluate(model, data.test);
  return {std::move(steps),           std::move(epochs), std::move(alarms), std::move(switches),
          static_cast<i64>(best) + 1, std::move(dev),    std::move(test),   clock.seconds()};
}

Tensor predict(const nn::DistilBertClassifier& model, const TokenizedSplit& split) {
  const NoGrad no_grad;
  Tensor logits = Tensor::empty({split.size(), model.config.labels});
  i64 row = 0;
  for (const std::vector<i64>& indices : batches_in_order(split, evaluation_batch(split))) {
    const i64 end = row + static_cast<i64>(indices.size());
    logits.rows(row, end).copy_from(model(make_batch(split, indices)).value());
    row = end;
  }
  return logits;
}

Evaluation evaluate(const nn::DistilBertClassifier& model, const TokenizedSplit& split) {
  const Tensor logits = predict(model, split);
  const i64 labels = model.config.labels;
  ConfusionMatrix confusion(labels);
  for (i64 i = 0; i < split.size(); ++i) {
    const float* row = logits.data<float>() + i * labels;
    confusion.add(split.labels[static_cast<std::size_t>(i)],
                  std::max_element(row, row + labels) - row);
  }
  const double loss = cross_entropy(logits, Tensor::from(split.labels)).value().item();
  return {std::move(confusion), loss};
}

}  // namespace minima
