#include "optim/storage/plan.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "core/dtype.hpp"
#include "core/text/split.hpp"
#include "optim/registry.hpp"

namespace minima {
namespace {

std::array<std::pair<Storage, const std::string&>, 3> overrides(const StorageOptions& o) {
  return {{{Storage::fp32, o.fp32}, {Storage::bf16, o.bf16}, {Storage::block8, o.block8}}};
}

std::string reason_of(Storage storage, const std::string& pattern) {
  return fmt::format("{}={}", storage_name(storage), pattern);
}

/// The one place that decides: a storage and the reason.
std::pair<Storage, std::string> storage_for(const PlannedSlot& planned, const Shape& parameter,
                                            const StorageOptions& o) {
  if (!planned.dense)
    return {Storage::fp32, parameter.rank() < 2 && planned.shape == parameter
                               ? "a vector's moment, kept as means are"
                               : "no value for each element"};
  for (const auto& [storage, pattern] : overrides(o))
    if (matches(planned.key(), pattern)) return {storage, reason_of(storage, pattern)};
  if (o.state == Storage::block8 && planned.elements() < o.min_8bit_size)
    return {Storage::fp32, fmt::format("under {} elements", o.min_8bit_size)};
  return {o.state, fmt::format("state={}", storage_name(o.state))};
}

}  // namespace

bool matches(const std::string& name, const std::string& pattern) {
  const auto dotted = [](std::string text) {  // with a dot wherever a part begins or ends
    std::ranges::replace_if(
        text, [](char c) { return c == '/' || c == '^' || c == '$'; }, '.');
    return text;
  };
  const std::string parts = dotted("^" + name + "$");
  return std::ranges::any_of(split(pattern, '|'), [&](const std::string& wanted) {
    return !wanted.empty() && parts.find(dotted(wanted)) != std::string::npos;
  });
}

std::optional<std::string> unmatched(const std::string& pattern,
                                     const std::vector<std::string>& names) {
  for (const std::string& one : split(pattern, '|'))
    if (std::ranges::none_of(names, [&](const std::string& name) { return matches(name, one); }))
      return one;
  return {};
}

i64 PlannedSlot::scales() const {
  return storage == Storage::block8 ? ceil_div(elements(), block_size) : 0;
}

i64 PlannedSlot::bytes() const { return elements() * bytes_each(storage) + scales() * 4; }

i64 StatePlan::sum(i64 (PlannedSlot::*count)() const) const {
  i64 sum = 0;
  for (const PlannedSlot& slot : slots) sum += (slot.*count)();
  return sum;
}

void check_patterns(const std::string& owner, const OptionList& patterns,
                    const std::vector<std::string>& parameters) {
  for (const auto& [option, pattern] : patterns)
    check(!unmatched(pattern, parameters), "{}: '{}' in {} matches no parameter{}", owner, pattern,
          option, parameters.empty() ? "" : "; they are named like '" + parameters.front() + "'");
}

void check_patterns(const std::string& owner, const StatePlan& plan, const AnyRule& rule,
                    const StorageOptions& options) {
  std::vector<std::string> parameters;
  for (const PlannedSlot& slot : plan.slots) parameters.push_back(slot.parameter);
  check_patterns(owner, rule.chosen_patterns(), parameters);
  std::vector<std::string> keys;
  for (const PlannedSlot& slot : plan.slots)
    if (slot.dense) keys.push_back(slot.key());
  const std::string example = keys.empty() ? " that could be stored otherwise"
                                           : "; they are named like '" + keys.front() + "'";
  for (const auto& [storage, pattern] : overrides(options)) {
    if (pattern.empty()) continue;
    const std::string option = reason_of(storage, pattern);
    check(std::ranges::count(plan.slots, option, &PlannedSlot::reason) > 0,
          "{}: {} decides over no slot{}", owner, option, example);
    const auto idle = unmatched(pattern, keys);
    check(!idle, "{}: '{}' in {} matches no slot{}", owner, idle.value_or(""), option, example);
  }
}

std::vector<PlannedSlot> plan_slots(const ParameterShape& parameter, const AnyRule& rule,
                                    const StorageOptions& options) {
  std::vector<PlannedSlot> result;
  for (const Slot& slot : rule.slots(parameter)) {
    PlannedSlot planned{.parameter = parameter.name,
                        .slot = slot.name,
                        .letter = slot.letter,
                        .shape = slot.shape.value_or(parameter.shape),
                        .dense = !slot.shape,
                        .sign = slot.sign};
    std::tie(planned.storage, planned.reason) = storage_for(planned, parameter.shape, options);
    if (planned.storage == Storage::block8) planned.block_size = options.block_size;
    result.push_back(std::move(planned));
  }
  if (rule.keeps_step())
    result.push_back({.parameter = parameter.name,
                      .slot = "step",
                      .dense = false,
                      .storage = Storage::i32,
                      .reason = "a counter"});
  std::set<std::string> names;
  for (const PlannedSlot& slot : result)
    check(names.insert(slot.slot).second, "'{}' has two slots named '{}'; state is kept by name",
          parameter.name, slot.slot);
  return result;
}

StatePlan plan_state(const std::string& spec, const std::vector<ParameterShape>& parameters) {
  const OptimizerSpec resolved = resolve(spec);
  StatePlan plan;
  for (const ParameterShape& parameter : parameters)
    for (PlannedSlot& slot : plan_slots(parameter, *resolved.rule, resolved.storage))
      plan.slots.push_back(std::move(slot));
  if (!parameters.empty()) check_patterns(resolved.name, plan, *resolved.rule, resolved.storage);
  return plan;
}

}  // namespace minima
