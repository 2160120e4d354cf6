#include "train/memory.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "autograd/functions.hpp"
#include "core/cpu/threads.hpp"
#include "core/ops/matmul.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/masked_lm.hpp"
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"
#include "train/finetuning.hpp"
#include "train/update_in_backward.hpp"

namespace minima {
namespace {

/// Texts of that shape, the `number`-th of several batches: every token occurs as rarely as the vocabulary allows.
Batch make_batch(const nn::EncoderConfig& config, const BatchShape& shape, Texts texts,
                 i64 number) {
  Batch batch{.tokens = Tensor::empty({shape.tokens}, DType::i64),
              .positions = Tensor::empty({shape.tokens}, DType::i64),
              .offsets = Tensor::empty({shape.texts + 1}, DType::i64),
              .example_id = Tensor::empty({shape.texts}, DType::i64),
              .labels = Tensor::empty({shape.texts}, DType::i64)};
  for (i64 t = 0; t < shape.tokens; ++t) {
    batch.tokens.data<i64>()[t] =
        1 + (number * shape.tokens + t) % (config.vocabulary - 1);  // 0 is [PAD]
    batch.positions.data<i64>()[t] = t % shape.longest;
  }
  for (i64 b = 0; b < shape.texts; ++b) {
    batch.offsets.data<i64>()[b] = b * shape.longest;
    batch.example_id.data<i64>()[b] = b;
    batch.labels.data<i64>()[b] = b % (texts == Texts::plain ? config.vocabulary : config.labels);
  }
  batch.offsets.data<i64>()[shape.texts] = shape.tokens;
  if (texts == Texts::plain) batch.chosen = batch.offsets.rows(0, shape.texts);
  return batch;
}

Variable loss_of(const nn::Classifier& model, const Batch& batch, const nn::Pass& pass) {
  return cross_entropy(model(batch, pass), batch.labels);
}
Variable loss_of(const nn::MaskedLm& model, const Batch& batch, const nn::Pass& pass) {
  return model.loss(batch, pass);
}

template <class Model>
MeasuredMemory measure(const nn::EncoderConfig& config, const BatchShape& shape,
                       const std::string& spec, const StepKind& kind) {
  MeasuredMemory measured{};
  i64 before = memory_stats().live;
  const i64 at_first = before;
  const auto grown = [&] {
    return memory_stats().live - std::exchange(before, memory_stats().live);
  };

  Model model(config);
  model.initialize(1);
  const std::vector<Parameter*> parameters = model.parameters();
  measured.parameter_bytes = grown();
  freeze(parameters, kind.freeze);
  std::vector<Parameter*> trained;
  std::ranges::copy_if(parameters, std::back_inserter(trained), &Parameter::trainable);
  Optimizer optimizer = make_optimizer(spec, trained);
  measured.state_bytes = grown();
  measured.state_elements = optimizer.state_elements();

  reset_peak_memory();  // of a step, and not of what made the model
  const nn::Pass pass{.training = true,
                      .seed = 1,
                      .step = 1,
                      .checkpoint_layers = kind.checkpoint_layers,
                      .precision = kind.precision};
  for (i64 number = 0; number < kind.accumulate; ++number) {
    const Batch batch = make_batch(config, shape, kind.texts, number);
    grown();
    const Variable loss = loss_of(model, batch, pass);
    measured.activation_bytes = grown();
    if (kind.update_in_backward) {
      measured.gradient_bytes =
          update_in_backward(loss, Tensor::scalar(1), optimizer, trained, {}).most_bytes;
      continue;
    }
    loss.backward();
    if (number + 1 < kind.accumulate) continue;
    for (const Parameter* parameter : trained)
      measured.gradient_bytes += parameter->gradient.bytes();
    optimizer.step({.clip_norm = 1, .measure_norm = true, .skip_non_finite = true});
  }
  measured.peak_bytes = memory_stats().peak - at_first;
  return measured;
}

}  // namespace

i64 gpu_scratch_bytes(const nn::EncoderConfig& config, const BatchShape& batch) {
  return std::max(ops::kProductWorkspace, 4 * config.heads * batch.tokens);
}

OptimizerMemory predict_optimizer(const std::string& spec, const StepMemory& step) {
  static const std::set<std::string> kMomentum{"exp_avg", "momentum_buffer", "basis", "coef"};
  OptimizerMemory result;
  result.spec = spec;
  result.state = plan_state(spec, step.trained);
  for (const PlannedSlot& slot : result.state.slots)
    if (kMomentum.contains(slot.slot)) result.momentum += slot.elements();
  i64 most = step.working_peak;
  const OptimizerSpec resolved = resolve(spec);
  for (const UpdateMemory& update : step.updates) {
    std::vector<ParameterShape> together;
    for (const std::size_t place : update.places) together.push_back(step.trained[place]);
    const i64 temporary = temporary_bytes(*resolved.rule, together);
    result.temporary_bytes = std::max(result.temporary_bytes, temporary);
    most = std::max(most, update.bytes + temporary);
  }
  const i64 state = result.state.bytes();
  result.sum_bytes = step.parameter_bytes + step.gradient_bytes + state + step.activation_bytes;
  result.peak_bytes = step.parameter_bytes + state + most;
  return result;
}

void check_fits(const nn::EncoderConfig& config, const std::vector<std::string>& specs,
                const StepKind& kind, const BatchShape& largest) {
  const StepMemory step = predict_step(config, BatchShape::of_texts(1, 1), kind);
  const i64 activations = predict_step(config, largest, kind).activation_bytes;
  const i64 free = available_memory();
  constexpr i64 kMegabyte = i64{1} << 20;
  const auto check_held = [&](const std::string& when, i64 bytes, const std::string& others,
                              const char* smaller = "model") {
    if (bytes > free)
      throw Error(
          fmt::format("memory: {} holds {} MB or more (weights {}, {}), {} are free here; a "
                      "smaller {} needs less",
                      when, bytes / kMegabyte, step.parameter_bytes / kMegabyte, others,
                      free / kMegabyte, smaller),
          Fault::memory);
  };
  const auto state = [](const OptimizerMemory& of) {
    return fmt::format("state of '{}' {}", of.spec, of.state.bytes() / kMegabyte);
  };
  std::optional<OptimizerMemory> before;
  for (const std::string& spec : specs) {
    OptimizerMemory now = predict_optimizer(spec, step);
    check_held("every step of this training", now.peak_bytes, state(now));
    check_held(fmt::format("a step of {} texts with {} tokens", largest.texts, largest.tokens),
               step.parameter_bytes + now.state.bytes() + activations,
               fmt::format("{}, activations {}", state(now), activations / kMegabyte),
               "batch or model");
    if (before)
      check_held("the change of the optimizer",
                 step.parameter_bytes + before->state.bytes() + now.state.bytes(),
                 state(*before) + ", " + state(now));
    before = std::move(now);
  }
}

MeasuredMemory measure_step(const nn::EncoderConfig& config, const BatchShape& shape,
                            const std::string& spec, const StepKind& kind) {
  check_step(config, shape, kind);
  const auto measure_it =
      kind.texts == Texts::plain ? measure<nn::MaskedLm> : measure<nn::Classifier>;
  return measure_it(config, shape, spec, kind);
}

std::vector<std::string> disagreements(const StepMemory& step, const OptimizerMemory& optimizer,
                                       const MeasuredMemory& measured) {
  std::vector<std::string> all;
  // `lower`: by how much less may be found.
  const auto compare = [&](const char* what, i64 predicted, i64 found, double tolerance,
                           i64 lower = 0) {
    const i64 nearest = std::clamp(found, predicted - lower, predicted);
    if (static_cast<double>(std::abs(nearest - found)) > tolerance * static_cast<double>(found))
      all.push_back(fmt::format("{}: {} predicted, {} measured", what, predicted, found));
  };
  compare("bytes of weights", step.parameter_bytes, measured.parameter_bytes, 0);
  compare("elements of state", optimizer.state.elements(), measured.state_elements, 0);
  compare("bytes of state", optimizer.state.bytes(), measured.state_bytes, 0);
  compare("bytes of activations", step.activation_bytes, measured.activation_bytes, 0);
  compare("bytes of gradients", step.gradient_bytes, measured.gradient_bytes, 0);
  // Predicted is the most: that the temporaries of parameters side by side are there at once.
  compare("bytes at the peak", optimizer.peak_bytes, measured.peak_bytes, 0.02,
          threads() > 1 ? optimizer.temporary_bytes : 0);
  return all;
}

}  // namespace minima
