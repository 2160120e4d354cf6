/// The reference trajectories: 20 steps of a tiny DistilBERT and a tiny BERT on recorded batches,
/// against transformers and torch in float64.
#include "autograd/functions.hpp"
#include "core/json.hpp"
#include "core/safetensors.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/weights.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"
#include "tests/nn/reference_batch.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

struct Trajectory {
  std::string reference, spec;  ///< the name in reference.json, and what it is here
  bool decays_all;              ///< weight decay on biases and layer norms too
  double clip_norm;
  std::optional<Schedule> schedule;
};

/// Softmax does not change when all keys move by one vector, so the key biases have a true gradient
/// of 0 and move by rounding noise alone.
bool is_key_bias(const std::string& name) {
  return name.ends_with("k_lin.bias") || name.ends_with("key.bias");
}

/// Every slot that was recorded, as "<parameter>::<slot>".
void check_state(const Optimizer& optimizer, const SafetensorsFile& expected) {
  for (const auto& [key, tensor] : optimizer.tensors()) {
    const std::size_t slash = key.rfind('/');
    const std::string parameter = key.substr(0, slash),
                      recorded = parameter + "::" + key.substr(slash + 1);
    if (is_key_bias(parameter) || !expected.contains(recorded)) continue;
    CAPTURE(recorded);
    const Tensor values = expected.read(recorded);
    const double largest = std::ranges::max(values.span<float>());
    test::check_close(tensor, values, {1e-4 * largest, 1e-3});
  }
}

void replay(const std::string& folder, const Trajectory& trajectory) {
  const auto config_file = test::reference(folder + "config.json");
  nn::Classifier model(nn::EncoderConfig::from_json(read_json(config_file), config_file.string()));
  const ModelWeights weights(test::reference(folder + "model.safetensors"));
  nn::read_weights(model.parameters(), weights,
                   nn::match_weights(model.parameters(), weights, model.config.names()));
  const SafetensorsFile batches(test::reference(folder + "train_batches.safetensors"));
  const Json reference = read_json(
      test::reference(folder + "reference.json"))["optimizers"][trajectory.reference]["float64"];

  Optimizer optimizer = trajectory.decays_all
                            ? make_optimizer(trajectory.spec, model.parameters())
                            : make_optimizer(trajectory.spec, decay_groups(model.parameters()));
  for (i64 step = 0; step < 20; ++step) {
    CAPTURE(step);
    const Batch batch = test::reference_batch(batches, fmt::format("batch{}.", step % 5));
    for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
    const Variable loss = cross_entropy(model(batch), batch.labels);
    loss.backward();
    CHECK(std::abs(loss.value().item() -
                   reference["loss"][static_cast<std::size_t>(step)].get<double>()) <= 1e-4);
    const StepReport report =
        optimizer.step({.lr_factor = trajectory.schedule ? trajectory.schedule->factor(step) : 1,
                        .clip_norm = trajectory.clip_norm,
                        .measure_norm = true});
    const double norm = reference["grad_norm"][static_cast<std::size_t>(step)].get<double>();
    CHECK(std::abs(report.grad_norm.value() - norm) <= 1e-3 * norm);
  }
  const SafetensorsFile expected(
      test::reference(folder + "final_params." + trajectory.reference + ".safetensors"));
  for (const Parameter* parameter : model.parameters()) {
    if (is_key_bias(parameter->name)) continue;
    CAPTURE(parameter->name);
    test::check_close(parameter->value, expected.read(parameter->name), {1e-4, 0});
  }
  const auto state =
      test::reference(folder + "final_state." + trajectory.reference + ".safetensors");
  if (!state.empty()) check_state(optimizer, SafetensorsFile(state));
}

/// For each model whose trajectory by this optimizer is recorded.
void replay(const Trajectory& trajectory) {
  CAPTURE(trajectory.reference);
  i64 found = 0;
  for (const std::string folder : {"model/distilbert/", "model/bert/"}) {
    CAPTURE(folder);
    const auto file = test::reference(folder + "reference.json");
    if (file.empty() || !read_json(file)["optimizers"].contains(trajectory.reference)) continue;
    replay(folder, trajectory);
    ++found;
  }
  if (found == 0)
    MESSAGE("skipped: no trajectory of ", trajectory.reference, " here (set MINIMA_REFERENCE)");
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE(
      "20 steps of AdamW with warm-up, decay, clipping and no decay on biases follow "
      "transformers") {
    replay({"adamw", "adamw:lr=1e-3:weight_decay=0.01", false, 1,
            Schedule{.kind = "linear", .warmup = 4, .total = 20}});
  }
  TEST_CASE("20 steps of Adafactor follow transformers in each of its ways to choose a step") {
    replay({"adafactor_relative_warmup", "adafactor:warmup_init=true", true, 0, {}});
    replay({"adafactor_relative", "adafactor", true, 0, {}});
    replay({"adafactor_fixed_lr",
            "adafactor:lr=1e-3:scale_parameter=false:relative_step=false",
            true,
            1,
            {}});
    replay({"adafactor_beta1_wd",
            "adafactor:lr=1e-2:relative_step=false:beta1=0.9:weight_decay=0.01:clip_threshold=0.5:"
            "decay_rate=-0.7",
            true,
            0,
            {}});
  }
  TEST_CASE("20 steps of Nesterov SGD with a cosine schedule follow torch") {
    replay({"sgd", "sgd:lr=0.05:momentum=0.9:nesterov=true:weight_decay=1e-4", true, 1,
            Schedule{.kind = "cosine", .total = 20}});
  }
  TEST_CASE("20 steps of CAME follow came-pytorch") {
    replay({"came", "came:lr=2e-4:weight_decay=0.01", true, 0, {}});
  }
}
