/// The reference trajectories: some steps of a tiny DistilBERT and a tiny BERT on recorded batches,
/// against transformers and torch in float64.
#include <regex>
#include <sstream>

#include "autograd/functions.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/weights.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"
#include "tests/nn/reference_batch.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

/// The settings of the visible set's trajectories, for sets that give names alone.
const std::map<std::string, std::string> kSettings{
    {"adamw",
     "torch.optim.AdamW lr 1e-3, weight decay 0.01 but 0 for biases and LayerNorm; "
     "clip_grad_norm_ 1.0; get_linear_schedule_with_warmup(steps/5, steps)"},
    {"adafactor_relative_warmup", "transformers Adafactor warmup_init"},
    {"adafactor_relative", "transformers Adafactor"},
    {"adafactor_fixed_lr",
     "transformers Adafactor lr 1e-3, no scale_parameter; clip_grad_norm_ 1.0"},
    {"adafactor_beta1_wd",
     "transformers Adafactor lr 1e-2, beta1 0.9, weight decay 0.01, clip_threshold 0.5, "
     "decay_rate -0.7"},
    {"sgd",
     "torch.optim.SGD lr 0.05 momentum 0.9 nesterov, weight decay 1e-4; clip_grad_norm_ 1.0; "
     "cosine"},
    {"came", "came-pytorch CAME lr 2e-4, weight decay 0.01"}};

struct Settings {
  std::string spec;        ///< the optimizer, as it is called here
  double lr = 1;           ///< its own, where it has one
  double clip_norm = 0;    ///< 0: not clipped
  bool decays_all = true;  ///< weight decay on biases and layer norms too
  Schedule schedule;
};

/// What `text` says: an optimizer, then options, each with a number, with numbers in parentheses
/// or, as a switch, with "no" before it or nothing.
Settings parse_settings(const std::string& text, i64 steps) {
  Settings result{.spec = {},
                  .decays_all = !test::contains(text, "0 for biases"),
                  .schedule{.kind = "constant", .total = steps}};
  if (test::contains(text, "linear_schedule")) {
    result.schedule.kind = "linear";
    result.schedule.warmup = steps / 5;
  } else if (test::contains(text, "cosine")) {
    result.schedule.kind = "cosine";
  }
  for (const auto& [library, name] : {std::pair{"torch.optim.SGD", "sgd"},
                                      {"torch.optim.AdamW", "adamw"},
                                      {"torch.optim.Adam", "adam"},
                                      {"torch.optim.Adafactor", "adafactor-torch"},
                                      {"transformers Adafactor", "adafactor"},
                                      {"came-pytorch CAME", "came"}})
    if (result.spec.empty() && text.starts_with(library)) result.spec = name;
  check(!result.spec.empty(), "the settings begin with no optimizer that is known here: '{}'",
        text);

  static const std::regex option(
      R"((no )?\b(lr|momentum|dampening|nesterov|weight.decay|beta1|betas|eps|amsgrad|maximize|)"
      R"(clip_threshold|decay_rate|beta2_decay|scale_parameter|relative_step|warmup_init|)"
      R"(clip_grad_norm_)\b(?: \(([^)]*)\)| (-?[.\d][-.\de]*))?)");
  for (std::sregex_iterator match(text.begin(), text.end(), option), end; match != end; ++match) {
    std::string name = (*match)[2], value = (*match)[4];
    std::ranges::replace(name, ' ', '_');
    if (name == "clip_grad_norm_") {
      result.clip_norm = std::stod(value);
    } else if ((*match)[3].matched) {  // betas (0.9, 0.999)
      std::istringstream values((*match)[3]);
      if (name == "betas") name = "beta";
      for (int i = 1; std::getline(values >> std::ws, value, ','); ++i)
        result.spec += fmt::format(":{}{}={}", name, i, value);
    } else if (name != "lr" || !value.empty()) {  // not: lr None
      if (value.empty()) value = (*match)[1].matched ? "false" : "true";
      result.spec += fmt::format(":{}={}", name, value);
      if (name == "lr") result.lr = std::stod(value);
    }
  }
  if (result.spec.starts_with("adafactor:lr=") && !test::contains(text, "relative_step"))
    result.spec += ":relative_step=false";
  return result;
}

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

/// `recorded` is the entry `name` of reference.json in `folder`.
void replay(const std::string& folder, const std::string& name, const Json& recorded, i64 steps) {
  std::string text = recorded.value("settings", "");
  if (const auto known = kSettings.find(name); text.empty() && known != kSettings.end())
    text = known->second;
  const Settings settings = parse_settings(text, steps);
  CAPTURE(settings.spec);

  const auto config_file = test::reference(folder + "config.json");
  nn::Classifier model(nn::EncoderConfig::from_json(read_json(config_file), config_file.string()));
  const ModelWeights weights(test::reference(folder + "model.safetensors"));
  nn::read_weights(model.parameters(), weights,
                   nn::match_weights(model.parameters(), weights, model.config.names()));
  const SafetensorsFile batches(test::reference(folder + "train_batches.safetensors"));
  i64 count = 0;
  while (batches.contains(fmt::format("batch{}.input_ids", count))) ++count;

  Optimizer optimizer = settings.decays_all
                            ? make_optimizer(settings.spec, model.parameters())
                            : make_optimizer(settings.spec, decay_groups(model.parameters()));
  const Json& expected = recorded.at("float64");
  const std::vector<double> rates = expected.at("lr");
  for (i64 step = 0; step < steps; ++step) {
    CAPTURE(step);
    const auto at = static_cast<std::size_t>(step);
    const Batch batch = test::reference_batch(batches, fmt::format("batch{}.", step % count));
    for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
    const Variable loss = cross_entropy(model(batch), batch.labels);
    loss.backward();
    CHECK(std::abs(loss.value().item() - expected.at("loss").at(at).get<double>()) <= 1e-4);
    double factor = settings.schedule.factor(step);
    if (settings.schedule.kind == "constant" && !rates.empty())
      factor = rates.at(at) / settings.lr;
    else if (!rates.empty())
      CHECK(std::abs(factor * settings.lr - rates.at(at)) <= 1e-9 * settings.lr);
    const StepReport report = optimizer.step(
        {.lr_factor = factor, .clip_norm = settings.clip_norm, .measure_norm = true});
    const double norm = expected.at("grad_norm").at(at);
    CHECK(std::abs(report.grad_norm.value() - norm) <= 1e-3 * norm);
  }
  const auto weights_file = test::reference(folder + "final_params." + name + ".safetensors");
  if (weights_file.empty()) return;
  const SafetensorsFile final_weights(weights_file);
  for (const Parameter* parameter : model.parameters()) {
    if (is_key_bias(parameter->name)) continue;
    CAPTURE(parameter->name);
    test::check_close(parameter->value, final_weights.read(parameter->name), {1e-4, 0});
  }
  const auto state = weights_file.parent_path() / ("final_state." + name + ".safetensors");
  if (std::filesystem::exists(state)) check_state(optimizer, SafetensorsFile(state));
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("every recorded trajectory follows its library: losses, norms, weights and state") {
    for (const std::string folder : {"model/distilbert/", "model/bert/"}) {
      if (!test::has_reference(folder, {"reference.json", "config.json", "model.safetensors",
                                        "train_batches.safetensors"}))
        continue;
      const Json reference = read_json(test::reference(folder + "reference.json"));
      for (const auto& [name, recorded] : reference.at("optimizers").items())
        test::try_case(folder + name, [&, &name = name, &recorded = recorded] {
          replay(folder, name, recorded, reference.at("steps"));
        });
    }
  }
}
