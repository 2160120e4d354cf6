/// minima memory: what training costs in bytes, before anything runs (train/memory.hpp).
#include "train/memory.hpp"

#include <cmath>

#include "core/code_map.hpp"
#include "core/files/file.hpp"
#include "core/text/columns.hpp"
#include "core/text/grouped.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/model_directory.hpp"
#include "train/run.hpp"

namespace minima {
namespace {

constexpr double kGiga = 1 << 30;

/// Memories that are sold, in GB of 2³⁰ bytes.
constexpr i64 kDevices[] = {4, 8, 16, 24, 32, 48, 64, 80, 96, 128, 141, 192};

/// What sizes are printed in: MB of 2²⁰ bytes, or KB of 2¹⁰ for a step that is small.
class Unit {
 public:
  explicit Unit(const StepMemory& step)
      : small_(step.parameter_bytes + step.activation_bytes < 10 << 20) {}
  const char* name() const { return small_ ? "KB" : "MB"; }
  const char* size() const { return small_ ? "2^10" : "2^20"; }
  std::string operator()(i64 bytes) const {
    return fmt::format("{:.1f}", static_cast<double>(bytes) / (small_ ? 1 << 10 : 1 << 20));
  }

 private:
  bool small_;
};

/// Every optimizer that there is, and some in fewer bits or with other slots.
std::vector<std::string> default_optimizers() {
  std::vector<std::string> specs = optimizer_names();
  for (const char* variant : {"sgd:momentum=0.9", "adamw:state=bf16", "lion:state=block8",
                              "came:state=block8", "adapm:factored=true"})
    if (std::ranges::count(specs, parse_spec(variant).first)) specs.push_back(variant);
  return specs;
}

/// Activations of one scope, by name; tensors of one name together.
struct Scope {
  std::string name;
  std::vector<std::pair<std::string, i64>> tensors;
  i64 bytes = 0;
};

std::vector<Scope> by_scope(const std::vector<Activation>& activations) {
  std::vector<Scope> scopes;
  for (const Activation& activation : activations) {
    auto scope = std::ranges::find(scopes, activation.scope, &Scope::name);
    if (scope == scopes.end()) scope = scopes.insert(scope, {activation.scope, {}, 0});
    auto tensor =
        std::ranges::find(scope->tensors, activation.name, &std::pair<std::string, i64>::first);
    if (tensor == scope->tensors.end())
      tensor = scope->tensors.insert(tensor, {activation.name, 0});
    tensor->second += activation.bytes;
    scope->bytes += activation.bytes;
  }
  return scopes;
}

struct MemoryVerb {
  CommonOptions common;
  std::string model, scale, state_table;
  std::optional<i64> dim, layers, heads, hidden, vocabulary, positions, labels;
  std::optional<i64> batch, length, tokens;
  std::optional<double> fits;
  std::vector<std::string> optimizers;
  bool measure = false;
  Precision precision = Precision::fp32;
  StepKind kind;
  std::string freeze;

  // ---- what is asked

  nn::EncoderConfig base() const {
    if (!scale.empty()) return config_of_scale(parse_scale(scale));
    const std::vector<std::string> presets = nn::preset_names();
    if (std::ranges::count(presets, model)) return nn::preset(model);
    std::filesystem::path file = model;
    refuse_run_folder(file);
    if (is_folder(file))
      file /= "config.json";
    else
      check(model.ends_with(".json"),
            "memory: --model '{}' is no directory, no .json file and none of the presets {}", model,
            fmt::format("{}", fmt::join(presets, ", ")));
    try {
      const auto config = nn::EncoderConfig::from_json(read_json(file), file.string());
      check_limits(config, file.string());
      return config;
    } catch (const nn::UnknownArchitecture& error) {
      fail("{}; of another model memory counts one alike by its size: --scale 7b", error.what());
    }
  }

  nn::EncoderConfig config() const {
    nn::EncoderConfig config = base();
    const std::pair<i64*, const std::optional<i64>*> sizes[] = {{&config.dim, &dim},
                                                                {&config.layers, &layers},
                                                                {&config.heads, &heads},
                                                                {&config.hidden, &hidden},
                                                                {&config.labels, &labels},
                                                                {&config.vocabulary, &vocabulary},
                                                                {&config.positions, &positions}};
    for (const auto& [size, wish] : sizes) *size = wish->value_or(*size);
    check_limits(config);
    return config;
  }

  BatchShape batch_shape(const nn::EncoderConfig& config) const {
    const i64 of_each = length.value_or(std::min<i64>(128, config.positions));
    constexpr i64 kMost = 1 << 24;
    for (const auto& [name, value] : {std::pair{"batch", batch.value_or(1)},
                                      {"length", of_each},
                                      {"tokens", tokens.value_or(1)}})
      check(value > 0 && value <= kMost, "memory: --{} is {}; it must lie between 1 and {}", name,
            value, kMost);
    check(!tokens || !length || *length <= *tokens,
          "memory: --length is {}, --tokens {}: a text of that length needs a batch of as many",
          length.value_or(0), tokens.value_or(0));
    return tokens ? BatchShape::of_tokens(*tokens, of_each)
                  : BatchShape::of_texts(batch.value_or(32), of_each);
  }

  void check_mix() const {
    check(!batch || !tokens,
          "--batch and --tokens exclude one another: give the size of a batch in texts or in "
          "tokens");
    check(scale.empty() || !(dim || layers || heads || hidden),
          "--scale chooses --dim, --layers, --heads and --hidden: leave it or them out");
    check(scale.empty() || !measure,
          "--measure allocates the model, --scale asks about one without allocating: choose one");
    check(state_table.empty() || (optimizers.empty() && !measure),
          "--state-table answers for one optimizer and measures nothing: leave --optimizers and "
          "--measure out");
    if (measure) check_precision(precision, Device{});
    if (kind.update_in_backward) check_update_in_backward(precision, Device{});
    check(!fits || (*fits > 0 && std::isfinite(*fits)),
          "memory: --fits is {} GB; it must be positive", fits.value_or(0));
    for (const std::string& spec : optimizers)
      check(std::ranges::count(optimizers, spec) == 1, "memory: '{}' is named twice", spec);
  }

  // ---- answers

  /// What a step needs at its peak, and the best weights, which training keeps.
  std::string fit(const StepMemory& step, const OptimizerMemory& of) const {
    const double needed = static_cast<double>(of.peak_bytes + step.parameter_bytes) / kGiga;
    if (fits) return needed <= *fits ? "yes" : "no";
    for (i64 device : kDevices)
      if (needed <= static_cast<double>(device)) return fmt::format("{} GB", device);
    return fmt::format("over {} GB", std::end(kDevices)[-1]);
  }

  Json to_json(const StepMemory& step, const OptimizerMemory& of) const {
    Json slots = Json::object();
    for (const PlannedSlot& slot : of.state.slots)
      slots[slot.slot] = slots.value(slot.slot, i64{0}) + slot.elements();
    return {{"name", of.spec},
            {"state_elements", of.state.elements()},
            {"scales", of.state.scales()},
            {"state_bytes", of.state.bytes()},
            {"slots", std::move(slots)},
            {"momentum_elements", of.momentum},
            {"momentum_saving",
             1 - static_cast<double>(of.momentum) / static_cast<double>(step.trained_count)},
            {"state_saving",  // of the bytes that AdamW's takes in fp32
             1 - static_cast<double>(of.state.bytes()) /
                     static_cast<double>(4 * (2 * step.trained_count + std::ssize(step.trained)))},
            {"temporary_bytes", of.temporary_bytes},
            {"sum_bytes", of.sum_bytes},
            {"peak_bytes", of.peak_bytes},
            {"fits", fit(step, of)}};
  }

  static Json to_json(const MeasuredMemory& measured) {
    return {{"parameter_bytes", measured.parameter_bytes},
            {"state_elements", measured.state_elements},
            {"state_bytes", measured.state_bytes},
            {"activation_bytes", measured.activation_bytes},
            {"gradient_bytes", measured.gradient_bytes},
            {"peak_bytes", measured.peak_bytes}};
  }

  Json to_json(const nn::EncoderConfig& config, const StepMemory& step) const {
    Json activations = Json::array();
    for (const Scope& scope : by_scope(step.activations)) {
      Json tensors = Json::object();
      for (const auto& [name, bytes] : scope.tensors) tensors[name] = bytes;
      activations.push_back({{"scope", scope.name}, {"bytes", scope.bytes}, {"tensors", tensors}});
    }
    return {{"model", scale.empty() ? model : scale},
            {"checkpoint_layers", kind.checkpoint_layers},
            {"update_in_backward", kind.update_in_backward},
            {"accumulate", kind.accumulate},
            {"sizes",
             {{"dim", config.dim},
              {"layers", config.layers},
              {"heads", config.heads},
              {"hidden", config.hidden},
              {"vocabulary", config.vocabulary},
              {"positions", config.positions},
              {"labels", config.labels}}},
            {"parameters", step.parameter_count},
            {"tensors", step.parameters.size()},
            {"trained_parameters", step.trained_count},
            {"trained_tensors", step.trained.size()},
            {"parameter_bytes", step.parameter_bytes},
            {"batch",
             {{"texts", step.batch.texts},
              {"tokens", step.batch.tokens},
              {"length", step.batch.longest},
              {"bytes", step.batch_bytes}}},
            {"precision", name_of(precision)},
            {"gradient_bytes", step.gradient_bytes},
            {"activation_bytes", step.activation_bytes},
            {"logits_bytes", step.logits_bytes},
            {"gpu_scratch_bytes", gpu_scratch_bytes(config, step.batch)},
            {"activations", std::move(activations)},
            {"optimizers", Json::array()}};
  }

  void print_model(const nn::EncoderConfig& config, const StepMemory& step) const {
    fmt::print(
        "{}: {} parameters in {} tensors{}: dim {}, layers {}, heads {}, hidden {}, vocabulary {}, "
        "positions {}, labels {}\nbatch: texts {}, tokens {}, the longest text {}{}; products in "
        "{}; {} = {} bytes\n\n",
        scale.empty() ? model : "an encoder for " + scale, grouped(step.parameter_count),
        step.parameters.size(),
        kind.freeze.empty() ? ""
                            : fmt::format(", {} of them in {} train", grouped(step.trained_count),
                                          step.trained.size()),
        config.dim, config.layers, config.heads, config.hidden, grouped(config.vocabulary),
        config.positions, config.labels, grouped(step.batch.texts), grouped(step.batch.tokens),
        step.batch.longest,
        kind.accumulate > 1 ? fmt::format("; {} batches a step", grouped(kind.accumulate)) : "",
        name_of(precision), Unit(step).name(), Unit(step).size());
  }

  static void print_activations(const StepMemory& step) {
    const Unit size(step);
    fmt::print("kept from forward to backward      {}\n", size.name());
    const std::vector<Scope> scopes = by_scope(step.activations);
    for (std::size_t first = 0; first < scopes.size();) {
      std::size_t last = first;  // blocks that keep the same are one line
      while (last + 1 < scopes.size() && scopes[last + 1].tensors == scopes[first].tensors) ++last;
      std::vector<std::string> parts;
      i64 rest = 0;
      for (const auto& [name, bytes] : scopes[first].tensors)
        if (20 * bytes >= scopes[first].bytes)
          parts.push_back(fmt::format("{} {}", name, size(bytes)));
        else
          rest += bytes;
      if (rest > 0) parts.push_back("the rest " + size(rest));
      const auto number = [&](std::size_t k) {
        return scopes[k].name.substr(scopes[k].name.find(' ') + 1);
      };
      fmt::print("  {:<24} {:>10}  {}\n",
                 first == last ? scopes[first].name
                               : fmt::format("blocks {} to {}, each", number(first), number(last)),
                 size(scopes[first].bytes), fmt::join(parts, ", "));
      first = last + 1;
    }
    fmt::print("  {:<24} {:>10}  (the logits among them: {} bytes)\n\n", "all",
               size(step.activation_bytes), grouped(step.logits_bytes));
  }

  void print_optimizers(const nn::EncoderConfig& config, const StepMemory& step,
                        const std::vector<OptimizerMemory>& all) const {
    const Unit size(step);
    const std::string question = fits ? fmt::format("in {} GB?", *fits) : "fits into";
    std::size_t width = 9;
    for (const OptimizerMemory& of : all) width = std::max(width, of.spec.size());
    fmt::print("{:<{}} {:>18} {:>13} {:>10} | {:>10} {:>10} {:>10} {:>11} {:>10} {:>10}  {}\n",
               "optimizer", width, "state elements", "block scales", "momentum %", "weights",
               "gradients", "state", "activations", "sum", "peak", question);
    for (const OptimizerMemory& of : all)
      fmt::print("{:<{}} {:>18} {:>13} {:>10.1f} | {:>10} {:>10} {:>10} {:>11} {:>10} {:>10}  {}\n",
                 of.spec, width, grouped(of.state.elements()), grouped(of.state.scales()),
                 100 * static_cast<double>(of.momentum) / static_cast<double>(step.trained_count),
                 size(step.parameter_bytes), size(step.gradient_bytes), size(of.state.bytes()),
                 size(step.activation_bytes), size(of.sum_bytes), size(of.peak_bytes),
                 fit(step, of));
    fmt::print(
        "\nstate elements: the values of all slots, and a step count for each tensor where the "
        "optimizer keeps one; 8-bit\n  state has a scale for each block beside them (the two code "
        "maps, {} {} in all, are not counted)\n"
        "momentum: numbers that a first moment keeps, of whatever size, in % of AdamW's\n"
        "gradients: {}; of the embeddings only the rows that the {} up, if no token "
        "occurs twice (dense: {} {})\n"
        "peak: of one training step, in which activations go while gradients come{}{}{}\n"
        "{}: the peak and, from the end of the first epoch on, the best weights, which training "
        "keeps: {} {} more. On a GPU\n  ops hold up to {} {} more for the moment\n",
        size(static_cast<i64>(2 * sizeof(CodeMap))), size.name(),
        kind.update_in_backward ? "fp32, those that wait for their update in backward" : "fp32",
        kind.accumulate > 1 ? "batches look" : "batch looks", size(4 * step.trained_count),
        size.name(), kind.accumulate > 1 ? ", beside those of the batches before" : "",
        kind.checkpoint_layers ? ", and a block's activations come back for it" : "",
        kind.precision == DType::f32 ? "" : ", and a product's operands are fp32 for the moment",
        question, size(step.parameter_bytes), size.name(),
        size(gpu_scratch_bytes(config, step.batch)), size.name());
  }

  /// Says on standard error where training takes an optimizer with options that need other memory: SGD with momentum.
  static void tell_of_defaults(const std::string& spec, const OptimizerMemory& of,
                               const StepMemory& step) {
    const std::string trained = with_defaults(spec);
    const i64 bytes = predict_optimizer(trained, step).state.bytes();
    if (bytes != of.state.bytes())
      print_note("note: train and compare take {} as {}, whose state is {} bytes\n", spec, trained,
                 grouped(bytes));
  }

  static void print_measured(const StepMemory& step, const OptimizerMemory& of,
                             const MeasuredMemory& measured) {
    fmt::print("\n{}, bytes        {:>15} {:>15}\n", of.spec, "predicted", "measured");
    const auto line = [](const char* what, i64 predicted, i64 found) {
      fmt::print("  {:<18} {:>15} {:>15}  {}\n", what, grouped(predicted), grouped(found),
                 predicted == found
                     ? "equal"
                     : fmt::format("{:+.3f} %", 100.0 * static_cast<double>(predicted - found) /
                                                    static_cast<double>(found)));
    };
    line("weights", step.parameter_bytes, measured.parameter_bytes);
    line("state", of.state.bytes(), measured.state_bytes);
    line("activations", step.activation_bytes, measured.activation_bytes);
    line("gradients", step.gradient_bytes, measured.gradient_bytes);
    line("peak of a step", of.peak_bytes, measured.peak_bytes);
  }

  /// Which tensors are stored how, and why.
  void tell_state_table(const StepMemory& step) const {
    const StatePlan plan = plan_state(state_table, step.trained);
    if (!common.json) {
      std::vector<std::vector<std::string>> lines{{"slot", "shape", "storage", "bytes", "because"}};
      for (const PlannedSlot& slot : plan.slots)
        lines.push_back({slot.key(), fmt::format("{}", slot.shape),
                         std::string(storage_name(slot.storage)), fmt::format("{}", slot.bytes()),
                         slot.reason});
      return fmt::print("{}total: {} elements, {} scales, {} bytes\n",
                        in_columns(std::move(lines), "lllrl"), plan.elements(), plan.scales(),
                        plan.bytes());
    }
    Json slots = Json::array();
    for (const PlannedSlot& slot : plan.slots)
      slots.push_back({{"parameter", slot.parameter},
                       {"slot", slot.slot},
                       {"shape", slot.shape.sizes()},
                       {"storage", storage_name(slot.storage)},
                       {"bytes", slot.bytes()},
                       {"reason", slot.reason}});
    fmt::print("{}\n", Json{{"name", state_table}, {"slots", std::move(slots)}}.dump());
  }

  void run() {
    common.apply();
    optimizers = split_specs("--optimizers", optimizers);
    check_mix();
    kind.precision = product_type(precision);
    if (!freeze.empty()) kind.freeze = split_specs("--freeze", {freeze});
    const nn::EncoderConfig sizes = config();
    const StepMemory step = predict_step(sizes, batch_shape(sizes), kind);
    if (!state_table.empty()) return tell_state_table(step);
    const bool asked = !optimizers.empty();
    if (!asked) optimizers = default_optimizers();
    std::vector<OptimizerMemory> all;
    for (const std::string& spec : optimizers) {
      all.push_back(predict_optimizer(spec, step));
      if (asked) tell_of_defaults(spec, all.back(), step);
    }

    Json json = to_json(sizes, step);
    if (!common.json) {
      print_model(sizes, step);
      print_activations(step);
      print_optimizers(sizes, step, all);
    }
    std::vector<std::string> wrong;
    for (const OptimizerMemory& of : all) {
      json["optimizers"].push_back(to_json(step, of));
      if (!measure) continue;
      if (const i64 free = available_memory(); of.peak_bytes > free)
        throw Error(fmt::format("memory: --measure holds {} MB at its peak with '{}', {} are free "
                                "here",
                                of.peak_bytes >> 20, of.spec, free >> 20),
                    Fault::memory);
      const MeasuredMemory measured = measure_step(sizes, step.batch, of.spec, kind);
      json["optimizers"].back()["measured"] = to_json(measured);
      if (!common.json) print_measured(step, of, measured);
      for (const std::string& what : disagreements(step, of, measured))
        wrong.push_back(fmt::format("{}: {}", of.spec, what));
    }
    if (common.json) fmt::print("{}\n", json.dump());
    if (!wrong.empty())
      fail_at_run_time("memory: the prediction is wrong: {}", fmt::join(wrong, "; "));
  }
};

}  // namespace

void add_memory(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "memory", "what a model and its optimizers need, in bytes, before anything runs");
  const auto options = std::make_shared<MemoryVerb>();
  MemoryVerb& o = *options;
  o.model = "distilbert-base-cased";
  CLI::Option* model = verb.add_option("--model", o.model,
                                       fmt::format("{}, a model directory, or a config.json",
                                                   fmt::join(nn::preset_names(), ", ")))
                           ->capture_default_str();
  verb.add_option("--scale", o.scale, "instead: an encoder of about 7b, 350m, … parameters")
      ->excludes(model);
  verb.add_option("--dim", o.dim, "width of the encoder; sizes stand over the model's");
  verb.add_option("--layers", o.layers, "transformer blocks");
  verb.add_option("--heads", o.heads, "attention heads");
  verb.add_option("--hidden", o.hidden, "width of the feed-forward nets");
  verb.add_option("--vocabulary", o.vocabulary, "entries of the vocabulary");
  verb.add_option("--positions", o.positions, "tokens of the longest text there may be");
  verb.add_option("--labels", o.labels, "classes");
  verb.add_option("--batch", o.batch, "texts of a batch (default 32)");
  verb.add_option("--length", o.length, "tokens of a text (default 128)");
  verb.add_option("--tokens", o.tokens, "tokens of a batch, instead of --batch");
  verb.add_flag("--checkpoint-layers", o.kind.checkpoint_layers,
                "as in train: each block keeps its input alone");
  verb.add_flag("--update-in-backward", o.kind.update_in_backward,
                "as in train: gradients are used as backward makes them");
  verb.add_option("--accumulate", o.kind.accumulate, "as in train: batches of an optimizer step");
  verb.add_option("--freeze", o.freeze, "as in train: parts of names: embeddings,layer.0");
  add_choice(verb, "--precision", o.precision, "as in train: of the products in a step");
  verb.add_option("--optimizers", o.optimizers,
                  "optimizers with their options: adamw,came:state=block8 (default: all)");
  verb.add_option("--state-table", o.state_table,
                  "of one optimizer: every tensor of its state, how it is stored and why");
  verb.add_option("--fits", o.fits,
                  "memory in GB (of 2^30 bytes): say of each optimizer whether training fits");
  verb.add_flag("--measure", o.measure,
                "allocate, take one real step for each optimizer, and compare");
  verb.add_option("--threads", o.common.threads, "threads that compute (0: all cores)");
  verb.add_flag("--json", o.common.json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
