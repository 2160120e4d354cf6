#include "train/training_options.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "train/finetuning.hpp"

namespace minima {

AcceleratorOptions accelerator_options(const TrainingOptions& options) {
  return {.accumulate = options.accumulate,
          .schedule = options.schedule,
          .warmup = options.warmup,
          .seed = options.seed,
          .watch = options.watch,
          .non_finite = options.non_finite,
          .checkpoint_layers = options.checkpoint_layers,
          .precision = options.precision,
          .update_in_backward = options.update_in_backward};
}

std::string to_string(const BatchSize& batch) {
  return batch.texts > 0 ? fmt::format("{} texts", batch.texts)
                         : fmt::format("{} tokens", batch.tokens);
}

bool is_free(std::string option) {
  static const std::set<std::string> free = {"minutes", "save_every",        "keep",
                                             "watch",   "checkpoint_layers", "update_in_backward"};
  std::ranges::replace(option, '-', '_');
  return free.contains(option);
}

void validate(const TrainingOptions& options) {
  Accelerator accelerator(accelerator_options(options));  // refuses its own
  check(options.epochs > 0 && options.epochs <= kMostEpochs,
        "epochs is {}; it must lie between 1 and {}", options.epochs, kMostEpochs);
  constexpr i64 kMostSteps = i64{1} << 40;
  check(options.steps >= 0 && options.steps <= kMostSteps,
        "steps is {}; it must lie between 0 (as many as the epochs have) and {}", options.steps,
        kMostSteps);
  check(options.minutes >= 0 && std::isfinite(options.minutes),
        "minutes is {}; it must be at least 0 (0: no limit)", options.minutes);
  check(options.clip_norm >= 0 && std::isfinite(options.clip_norm),
        "clip is {}; it must be finite and at least 0 (0: not clipped)", options.clip_norm);
  accelerator.clip(options.clip_norm);
  check(options.clip_value >= 0 && std::isfinite(options.clip_value),
        "clip-value is {}; it must be finite and at least 0 (0: not cut)", options.clip_value);
  for (const auto& [name, limit] :
       {std::pair{"clip", options.clip_norm}, {"clip-value", options.clip_value}})
    check_float("training", name, limit, nonnegative);
  check(options.evaluate_every >= 0,
        "evaluate-every is {} steps; it must be at least 0 (0: after each epoch)",
        options.evaluate_every);
  check(options.patience >= 0, "patience is {} evaluations; it must be at least 0 (0: never stop)",
        options.patience);
  check(options.save_every.value_or(0) >= 0,
        "save-every is {} steps; it must be at least 0 (0: only when interrupted)",
        options.save_every.value_or(0));
  check(options.keep >= 0, "keep is {} checkpoints; it must be at least 0 (0: all)", options.keep);
  check(options.layer_decay > 0 && options.layer_decay <= 1,
        "layer-decay is {}; it must be above 0 and at most 1", options.layer_decay);
  check(options.round_tokens >= 0 && options.round_tokens <= 1 << 20,
        "round-tokens is {}; it must lie between 0 (batches stay as they are) and {}",
        options.round_tokens, 1 << 20);
  check(options.word_dropout >= 0 && options.word_dropout < 1,
        "word-dropout is {}; it must be at least 0 and below 1", options.word_dropout);
  check(options.label_smoothing >= 0 && options.label_smoothing < 1,
        "label-smoothing is {}; it must be at least 0 and below 1", options.label_smoothing);
  for (const OptimizerSwitch& next : options.switches) validate_optimizer(next.spec, options);
  if (options.steps > 0) by_step(options.switches, options.steps);
}

Json validate_optimizer(const std::string& spec, const TrainingOptions& options) {
  std::vector<ParameterGroup> empty{{{}, ""}};
  Optimizer optimizer = make_optimizer(spec, empty);
  for (const GroupPattern& group : options.groups) {
    empty.push_back({{}, group.options});
    try {
      optimizer = make_optimizer(spec, empty);
    } catch (const Error& error) {
      fail("group '{}': {}", group.pattern, error.what());
    }
  }
  return optimizer.options();
}

Json to_json(const TrainingOptions& options) {
  Json groups = Json::array(), switches = Json::array();
  for (const GroupPattern& group : options.groups)
    groups.push_back({{"pattern", group.pattern}, {"options", group.options}});
  for (const OptimizerSwitch& next : options.switches)
    switches.push_back({{"steps", next.steps}, {"share", next.share}, {"spec", next.spec}});
  return {{"epochs", options.epochs},
          {"steps", options.steps},
          {"minutes", options.minutes},
          {"batch", to_string(options.batch)},
          {"schedule", options.schedule},
          {"warmup", options.warmup},
          {"clip_norm", options.clip_norm},
          {"clip_value", options.clip_value},
          {"accumulate", options.accumulate},
          {"watch", options.watch},
          {"non_finite", name_of(options.non_finite)},
          {"checkpoint_layers", options.checkpoint_layers},
          {"update_in_backward", options.update_in_backward},
          {"precision", name_of(options.precision)},
          {"round_tokens", options.round_tokens},
          {"evaluate_every", options.evaluate_every},
          {"metric", options.metric},
          {"patience", options.patience},
          {"save_every", options.save_every ? Json(*options.save_every) : Json(nullptr)},
          {"keep", options.keep},
          {"groups", std::move(groups)},
          {"switches", std::move(switches)},
          {"freeze", options.freeze},
          {"layer_decay", options.layer_decay},
          {"word_dropout", options.word_dropout},
          {"class_weights", options.class_weights},
          {"label_smoothing", options.label_smoothing},
          {"seed", options.seed}};
}

std::vector<ParameterGroup> parameter_groups(const std::vector<Parameter*>& parameters,
                                             const std::string& spec,
                                             const TrainingOptions& options) {
  std::vector<Parameter*> trained;
  std::ranges::copy_if(parameters, std::back_inserter(trained), &Parameter::trainable);
  std::vector<ParameterShape> shapes;
  for (const Parameter* parameter : trained)
    shapes.push_back({parameter->name, parameter->value.shape()});
  plan_state(spec, shapes);  // refuses an override of storage that matches no slot
  return decay_by_layer(group_by_pattern(decay_groups(trained, spec), options.groups), spec,
                        options.layer_decay);
}

i64 total_steps(const Batches& batches, const TrainingOptions& options) {
  if (options.steps == 0) return total_steps(batches, options.epochs, options.accumulate);
  batches(0);  // refuses a budget of tokens below the longest text
  return options.steps;
}

}  // namespace minima
