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
  Schedule{.kind = options.schedule, .total = 1}.factor(0);  // refuses an unknown name
}

i64 total_steps(const TrainingData& data, const TrainingOptions& options) {
  if (options.batch.texts > 0)
    return options.epochs * ((data.train.size() + options.batch.texts - 1) / options.batch.texts);
  i64 steps = 0;
  for (i64 epoch = 0; epoch < options.epochs; ++epoch)
    steps += static_cast<i64>(epoch_batches(data.train, options.batch, options.seed, epoch).size());
  return steps;
}

TrainingResult train(nn::DistilBertClassifier& model, Optimizer& optimizer,
                     const TrainingData& data, const TrainingOptions& options,
                     const TrainingObserver& observer) {
  validate(options);
  const std::vector<Parameter*> parameters = model.parameters();
  const i64 total = total_steps(data, options);
  const Schedule schedule{
      .kind = options.schedule,
      .warmup = static_cast<i64>(std::llround(options.warmup * static_cast<double>(total))),
      .total = total};
  const Stopwatch clock;
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  std::vector<Tensor> best_values;
  std::size_t best = 0;

  i64 step = 0;
  for (i64 epoch = 1; epoch <= options.epochs; ++epoch) {
    double loss_sum = 0;
    for (const std::vector<i64>& indices :
         epoch_batches(data.train, options.batch, options.seed, epoch - 1)) {
      const Stopwatch step_clock;
      const double lr_factor = schedule.factor(step++);
      const Batch batch = make_batch(data.train, indices);
      const Variable loss = cross_entropy(
          model(batch, {.training = true, .seed = options.seed, .step = step}), batch.labels);
      if (!std::isfinite(loss.value().item()))
        fail_at_run_time(
            "train: the loss is {} in step {}; a lower learning rate or a longer warm-up may help",
            loss.value().item(), step);
      loss.backward();
      const StepReport report = optimizer.step({.lr_factor = lr_factor,
                                                .clip_norm = options.clip_norm,
                                                .measure_norm = true,
                                                .skip_non_finite = true});
      if (report.skipped)
        fail_at_run_time(
            "train: the norm of the gradient is {} in step {}; a lower learning rate or a longer "
            "warm-up may help",
            report.grad_norm.value_or(0), step);
      for (Parameter* parameter : parameters) parameter->gradient.clear();

      steps.push_back({step, epoch, loss.value().item(), lr_factor, report.grad_norm.value_or(0),
                       1000 * step_clock.seconds(), batch.texts(), batch.tokens.size()});
      loss_sum += loss.value().item() * static_cast<double>(batch.texts());
      if (observer.step) observer.step(steps.back(), total);
    }
    epochs.push_back({epoch, step, loss_sum / static_cast<double>(data.train.size()),
                      evaluate(model, data.dev), clock.seconds()});
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
  return {std::move(steps), std::move(epochs), static_cast<i64>(best) + 1,
          std::move(dev),   std::move(test),   clock.seconds()};
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
