/// minima optimizers: which there are, what they keep, which options they take; and the schedules.
#include <map>

#include "core/json.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"
#include "optim/schedule.hpp"
#include "train/run.hpp"

namespace minima {
namespace {

/// Of which an optimizer's state is told.
const ParameterShape kMatrix{"layer.0.ffn.lin1.weight", {3072, 768}};

/// What an option of this name is; empty for one of a rule from elsewhere.
std::string meaning_of(const std::string& option) {
  static const std::map<std::string, std::string> meanings = {
      {"lr", "learning rate"},
      {"momentum", "share of the momentum that a step keeps"},
      {"dampening", "share of the gradient that momentum does not take"},
      {"nesterov", "a look ahead along the momentum"},
      {"beta1", "share of the gradient's mean that a step keeps"},
      {"beta2", "share of the mean of its square that a step keeps"},
      {"beta3", "share of the instability's mean that a step keeps"},
      {"eps", "added to the denominator"},
      {"eps1", "added to the squared gradient; adafactor-torch: least root of the moment"},
      {"eps2", "least size of weights that the step is scaled by; came: added to the instability"},
      {"weight_decay", "share of the weight, times the learning rate, that a step takes away"},
      {"amsgrad", "divide by the largest second moment so far"},
      {"maximize", "climb instead of descend"},
      {"decay_order", "decay before the step, or after it"},
      {"clip_threshold", "greatest RMS of an update"},
      {"d", "greatest RMS of an update"},
      {"decay_rate", "beta2 is 1 - t^decay_rate"},
      {"beta2_decay", "beta2 is 1 - t^beta2_decay"},
      {"scale_parameter", "steps are shares of the weights' size"},
      {"relative_step", "a step size of its own, min(0.01, 1/sqrt(t)), in place of lr"},
      {"warmup_init", "the relative step begins at 1e-6 t"},
      {"rank", "of momentum of low rank"},
      {"factored", "means of rows and columns in place of the second moment"},
      {"full", "parameters with whole momentum"},
      {"none", "parameters without momentum"},
      {"low_rank", "parameters with momentum of low rank"},
      {"state", "how numbers for each element are stored"},
      {"block_size", "numbers that share a scale in block8"},
      {"min_8bit_size", "a smaller tensor's state stays fp32 under block8"},
      {"fp32", "slots that are stored so, by name: embeddings|exp_avg$"},
      {"bf16", "slots that are stored so, by name"},
      {"block8", "slots that are stored so, by name"},
      {"non_finite_guard",
       "leave weights alone whose gradient is not finite (none: where state=block8)"},
      {"lazy_rows", "move only the rows of an embedding that the batch has looked up"}};
  const auto found = meanings.find(option);
  return found == meanings.end() ? "" : found->second;
}

Json to_json(const std::vector<OptionHelp>& help) {
  Json list = Json::array();
  for (const OptionHelp& one : help)
    list.push_back({{"name", one.name},
                    {"default", one.value},
                    {"takes", one.takes},
                    {"meaning", meaning_of(one.name)}});
  return list;
}

std::string brief(const std::vector<OptionHelp>& help) {
  std::vector<std::string> words;
  for (const OptionHelp& one : help) words.push_back(one.name + "=" + one.value);
  return fmt::format("{}", fmt::join(words, ":"));
}

void print(const std::vector<OptionHelp>& help) {
  for (const OptionHelp& one : help) {
    print_text("  {:<17} {:<10} {}\n", one.name, one.value.size() > 10 ? "" : one.value,
               meaning_of(one.name));
    if (one.value.size() > 10) print_text("  {:<17} {}\n", "", one.value);
    print_text("  {:<28} {}\n", "", one.takes);
  }
}

struct Optimizers {
  std::string name;
  bool json = false;

  static Json describe(const std::string& name) {
    const OptimizerSpec spec = resolve(name);
    const StatePlan plan = plan_state(with_defaults(name), {kMatrix});
    const auto weights = static_cast<double>(kMatrix.shape.size());
    return {{"name", name},
            {"in_training", with_defaults(name)},
            {"numbers_a_weight", static_cast<double>(plan.elements()) / weights},
            {"bytes_a_weight", static_cast<double>(plan.bytes()) / weights},
            {"options", to_json(spec.rule->help())}};
  }

  void print_one() const {
    const OptimizerSpec spec = resolve(name);
    print_text("{}: option, default, what it is and takes\n\n", name);
    print(spec.rule->help());
    print_text("\nof every optimizer:\n\n");
    print(option_help(spec.storage));
    print(option_help(spec.engine));
    print_text("\ntrain and compare take it as {}; explain {} shows a step\n", with_defaults(name),
               name);
  }

  void run() const {
    if (!name.empty() && !json) return print_one();
    if (json) {
      Json document = {{"optimizers", Json::array()},
                       {"common", to_json(option_help(StorageOptions{}))},
                       {"schedules", Json::array()}};
      for (const Json& one : to_json(option_help(EngineOptions{})))
        document["common"].push_back(one);
      for (const std::string& each : name.empty() ? optimizer_names() : std::vector{name})
        document["optimizers"].push_back(describe(each));
      for (const std::string& each : schedule_names())
        document["schedules"].push_back(
            {{"name", each}, {"options", to_json(schedule_help(each))}});
      return fmt::print("{}\n", document.dump());
    }
    print_text("{:<16} {:>14} {:>14}  train and compare take it as\n", "optimizer",
               "numbers/weight", "bytes/weight");
    for (const std::string& each : optimizer_names()) {
      const Json one = describe(each);
      print_text("{:<16} {:>14.4f} {:>14.4f}  {}\n", each, one["numbers_a_weight"].get<double>(),
                 one["bytes_a_weight"].get<double>(), one["in_training"].get<std::string>());
    }
    print_text(
        "\nstate of a matrix of {} as train takes it\n"
        "options: minima optimizers NAME; of every one: state={{fp32,bf16,block8}}, …\n\n"
        "schedules (--schedule), with their options\n",
        fmt::format("{}", kMatrix.shape));
    for (const std::string& each : schedule_names())
      print_text("{:<16} {}\n", each, brief(schedule_help(each)));
  }
};

}  // namespace

void add_optimizers(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "optimizers", "which optimizers and schedules there are, and their options");
  const auto options = std::make_shared<Optimizers>();
  verb.add_option("name", options->name, "one of them: all of its options");
  verb.add_flag("--json", options->json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
