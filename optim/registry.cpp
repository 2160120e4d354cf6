#include "optim/registry.hpp"

#include <mutex>

#include "core/text/nearest.hpp"
#include "optim/optimizer.hpp"
#include "optim/rules.hpp"

namespace minima {
namespace {

struct Registration {
  std::string name;
  std::unique_ptr<AnyRule> rule;
  std::string defaults;
};

template <class... R>
std::vector<Registration> registrations(Rules<R...>) {
  std::vector<Registration> list;
  (list.push_back({std::string(R::name), std::make_unique<RuleRunner<R>>(), ""}), ...);
  list.push_back({"adamw8bit", std::make_unique<RuleRunner<AdamW>>(), "state=block8"});
  // As in bitsandbytes, Adam in 8 bits has decoupled decay too.
  list.push_back(
      {"adam8bit", std::make_unique<RuleRunner<AdamW>>(), "state=block8:weight_decay=0"});
  return list;
}

/// Those that every optimizer has.
std::vector<std::string> common_options() {
  std::vector<std::string> names = option_names(option_values(StorageOptions{}));
  std::ranges::copy(option_names(option_values(EngineOptions{})), std::back_inserter(names));
  return names;
}

std::mutex mutex;

std::vector<Registration>& registry() {
  static std::vector<Registration> list = registrations(BuiltInRules{});
  return list;
}

/// Sets one option wherever it belongs. Throws Error, naming the nearest and the list, for one that
/// belongs nowhere.
template <class... Others>
void set(std::string_view owner, AnyRule& rule, const std::string& name, const std::string& text,
         Others&... others) {
  if (rule.set(owner, name, text) || (set_option(others, owner, name, text) || ...)) return;
  OptionValues all = rule.options();
  (std::ranges::copy(option_values(others), std::back_inserter(all)), ...);
  const std::vector<std::string> known = option_names(all);
  fail("{}: no option named '{}'{} It has: {}", owner, name, did_you_mean(name, known),
       fmt::join(known, ", "));
}

}  // namespace

void register_optimizer(std::string name, std::unique_ptr<AnyRule> rule, std::string defaults) {
  check(!name.empty() && name.find_first_of(":, \t\n") == std::string::npos,
        "optimizers: '{}' cannot be asked for by name; it must have no colon, comma or blank",
        name);
  const std::vector<std::string> taken = common_options();
  for (const std::string& option : option_names(rule->options()))
    check(std::ranges::count(taken, option) == 0,
          "optimizers: every optimizer has the option '{}'; give that of '{}' another name", option,
          name);
  std::lock_guard lock(mutex);
  for (const Registration& known : registry())
    check(known.name != name, "optimizers: the name '{}' is taken; give the rule another", name);
  registry().push_back({std::move(name), std::move(rule), std::move(defaults)});
}

std::vector<std::string> optimizer_names() {
  std::lock_guard lock(mutex);
  std::vector<std::string> names;
  for (const Registration& known : registry()) names.push_back(known.name);
  return names;
}

OptimizerSpec resolve(const std::string& spec) {
  const auto [name, options] = parse_spec(spec);
  const std::vector<std::string> names = optimizer_names();
  OptimizerSpec result;
  result.name = name;
  std::lock_guard lock(mutex);
  for (const Registration& known : registry()) {
    if (known.name != name) continue;
    result.rule = known.rule->clone();
    for (const OptionList& list : {parse_options(known.defaults), options})
      for (const auto& [option, text] : list)
        set(name, *result.rule, option, text, result.storage, result.engine);
    result.rule->validate();
    return result;
  }
  fail("no optimizer named '{}'{} There are: {}", name, did_you_mean(name, names),
       fmt::join(names, ", "));
}

std::unique_ptr<AnyRule> OptimizerSpec::rule_of_group(const std::string& options) const {
  std::unique_ptr<AnyRule> result = rule->clone();
  const std::vector<std::string> of_all = common_options();
  for (const auto& [option, text] : parse_options(options)) {
    check(std::ranges::count(of_all, option) == 0,
          "{}: {} is the whole optimizer's, not a group's; give it as {}:{}={} (fp32=, bf16= and "
          "block8= choose slots by name)",
          name, option, name, option, text);
    set(name, *result, option, text);
  }
  result->validate();
  return result;
}

}  // namespace minima
