/// minima optimizers: which there are, what they keep, which options they take; and the schedules.
#include <algorithm>
#include <iterator>
#include <map>

#include "core/files/json.hpp"
#include "core/text/nearest.hpp"
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

bool is_schedule(const std::string& name) { return std::ranges::count(schedule_names(), name) > 0; }

/// What options are, by name, or by "owner.name" where an optimizer or schedule means something of its own.
using Meanings = std::map<std::string, std::string>;
const Meanings kOfOptimizers = {
    {"lr", "learning rate"},
    {"adafactor.lr", "learning rate; none: relative_step makes the step size"},
    {"momentum", "share of the momentum that a step keeps"},
    {"dampening", "share of the gradient that momentum does not take"},
    {"nesterov", "a look ahead along the momentum"},
    {"beta1", "share of the mean of gradients that a step keeps"},
    {"lion.beta1", "share of the momentum in the step's sign; the rest is the gradient's"},
    {"adafactor.beta1", "share of the mean of updates that a step keeps; none: no mean is kept"},
    {"came.beta1", "share of the mean of updates that a step keeps"},
    {"beta2", "share of the mean of squared gradients that a step keeps"},
    {"lion.beta2", "share of the momentum that a step keeps"},
    {"beta3", "share of the mean of (update - mean)^2 that a step keeps"},
    {"eps", "added to the denominator"},
    {"eps1", "added to the squared gradient"},
    {"adafactor-torch.eps1", "least root of the second moment; none: the machine epsilon"},
    {"eps2", "least size of weights by which a step is scaled"},
    {"came.eps2", "added to (update - mean)^2"},
    {"weight_decay", "times lr: share of the weight that a step takes away"},
    {"adam.weight_decay", "times the weight: added to the gradient"},
    {"sgd.weight_decay", "times the weight: added to the gradient"},
    {"adafactor.weight_decay", "times the step size: share of the weight that a step takes away"},
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
    {"rank", "columns of the basis of a momentum of low rank"},
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
     "leave weights with a gradient that is not finite; none: where state=block8"},
    {"lazy_rows", "move only the rows of an embedding that the batch has looked up"}};
const Meanings kOfSchedules = {
    {"cosine.cycles", "waves of the cosine; none: 0.5, one fall"},
    {"cosine_restarts.cycles", "falls from lr to 0; none: 1"},
    {"minimum", "share of lr at the lowest"},
    {"power", "the fall goes as the share of steps left to this power"},
    {"end", "share of lr at the end"},
    {"timescale", "steps; 0: the warm-up's, or 10,000"},
    {"step_size", "steps from fall to fall; none: a third of all"},
    {"gamma", "share of lr that each fall leaves"},
    {"T_0", "steps to the first restart; none: all"},
    {"T_mult", "how many times as long each period is as the one before"},
    {"pct_start", "share of the steps over which it rises"},
    {"div_factor", "lr divided by that is where it begins"},
    {"final_div_factor", "its beginning divided by that is where it ends"},
    {"anneal", "the form of rise and fall"},
    {"three_phase", "falls as it rose, and then to its end"},
    {"mode", "min: the loss on dev is to fall; max: what --metric names is to rise"},
    {"factor", "share of lr that each reduction leaves"},
    {"patience", "evaluations without a better one before a reduction"},
    {"threshold", "by how much one must be better"},
    {"threshold_mode", "as a share of the best, or as it is"},
    {"cooldown", "evaluations after a reduction that do not count"},
    {"eps", "a smaller reduction is left out"}};

/// What an option is: by its Field, else by these tables. Empty for one of a rule from elsewhere that does not say it.
std::string meaning_of(const std::string& owner, const OptionHelp& option) {
  if (!option.meaning.empty()) return option.meaning;
  const Meanings& meanings = is_schedule(owner) ? kOfSchedules : kOfOptimizers;
  for (const std::string& name : {owner + "." + option.name, option.name})
    if (const auto found = meanings.find(name); found != meanings.end()) return found->second;
  return "";
}

Json to_json(const std::string& owner, const std::vector<OptionHelp>& help) {
  Json list = Json::array();
  for (const OptionHelp& one : help)
    list.push_back({{"name", one.name},
                    {"default", one.value},
                    {"takes", one.takes},
                    {"meaning", meaning_of(owner, one)}});
  return list;
}

std::string brief(const std::vector<OptionHelp>& help) {
  std::vector<std::string> words;
  for (const OptionHelp& one : help) words.push_back(one.name + "=" + one.value);
  return fmt::format("{}", fmt::join(words, ":"));
}

void print(const std::string& owner, const std::vector<OptionHelp>& help) {
  for (const OptionHelp& one : help) {
    print_text("  {:<17} {:<10} {}\n", one.name, one.value.size() > 10 ? "" : one.value,
               meaning_of(owner, one));
    if (one.value.size() > 10) print_text("  {:<17} {}\n", "", one.value);
    print_text("  {:<28} {}\n", "", one.takes);
  }
}

struct OptimizersVerb {
  std::string name;
  bool json = false;

  static Json describe_optimizer(const std::string& name) {
    const OptimizerSpec spec = resolve(name);
    const StatePlan plan = plan_state(with_defaults(name), {kMatrix});
    const auto weights = static_cast<double>(kMatrix.shape.size());
    Json options = to_json(name, spec.rule->help());
    for (const auto& common : {option_help(spec.storage), option_help(spec.engine)})
      for (Json& one : to_json(name, common)) options.push_back(std::move(one));
    return {{"name", name},
            {"in_training", with_defaults(name)},
            {"numbers_a_weight", static_cast<double>(plan.elements()) / weights},
            {"bytes_a_weight", static_cast<double>(plan.bytes()) / weights},
            {"options", std::move(options)}};
  }

  void print_json() const {
    Json document = {{"optimizers", Json::array()}, {"schedules", Json::array()}};
    for (const std::string& each : optimizer_names())
      if (name.empty() || each == name) document["optimizers"].push_back(describe_optimizer(each));
    for (const std::string& each : schedule_names())
      if (name.empty() || each == name)
        document["schedules"].push_back(
            {{"name", each}, {"options", to_json(each, schedule_help(each))}});
    fmt::print("{}\n", document.dump());
  }

  void print_one() const {
    if (is_schedule(name)) {
      const std::vector<OptionHelp> help = schedule_help(name);
      if (help.empty()) return print_text("{} has no options\n", name);
      print_text("{}: option, default, what it is and takes\n\n", name);
      return print(name, help);
    }
    const OptimizerSpec spec = resolve(name);
    print_text("{}: option, default, what it is and takes\n\n", name);
    print(name, spec.rule->help());
    print_text("\nof every optimizer:\n\n");
    print(name, option_help(spec.storage));
    print(name, option_help(spec.engine));
    print_text("\ntrain and compare take it as {}; explain {} shows a step\n", with_defaults(name),
               name);
  }

  void print_all() const {
    print_text("{:<16} {:>14} {:>14}  train and compare take it as\n", "optimizer",
               "numbers/weight", "bytes/weight");
    for (const std::string& each : optimizer_names()) {
      const Json one = describe_optimizer(each);
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

  void run() const {
    check(name.find(':') == std::string::npos,
          "optimizers: '{}' is a spec; give the name alone, or see explain {}", name, name);
    std::vector<std::string> known = optimizer_names();
    std::ranges::copy(schedule_names(), std::back_inserter(known));
    check(name.empty() || std::ranges::count(known, name) > 0,
          "no optimizer or schedule named '{}'{} There are: {}", name, did_you_mean(name, known),
          fmt::join(known, ", "));
    if (json) return print_json();
    name.empty() ? print_all() : print_one();
  }
};

}  // namespace

void add_optimizers(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "optimizers", "which optimizers and schedules there are, and their options");
  const auto options = std::make_shared<OptimizersVerb>();
  verb.add_option("name", options->name, "one of either: all of its options");
  verb.add_flag("--json", options->json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
