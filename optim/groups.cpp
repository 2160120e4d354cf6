#include "optim/groups.hpp"

#include <algorithm>

#include "optim/registry.hpp"

namespace minima {

std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters) {
  ParameterGroup decayed, plain{{}, "weight_decay=0"};
  for (Parameter* parameter : parameters) {
    check(parameter != nullptr, "groups: a parameter is null");
    (parameter->name.ends_with("bias") || matches(parameter->name, "layer_norm|LayerNorm")
         ? plain
         : decayed)
        .parameters.push_back(parameter);
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&decayed, &plain})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  return groups;
}

std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters,
                                         const std::string& spec) {
  if (std::ranges::count(option_names(resolve(spec).rule->options()), "weight_decay") == 0)
    return {{parameters, ""}};
  return decay_groups(parameters);
}

GroupPattern GroupPattern::parse(const std::string& text) {
  const std::size_t colon = text.find(':');
  check(colon != std::string::npos && colon > 0 && colon + 1 < text.size(),
        "group '{}': it must be a pattern and options, such as embeddings|bias:lr=1e-5", text);
  GroupPattern group{text.substr(0, colon), text.substr(colon + 1)};
  parse_options(group.options);
  return group;
}

std::vector<ParameterGroup> group_by_pattern(const std::vector<ParameterGroup>& groups,
                                             const std::vector<GroupPattern>& patterns) {
  const auto merged = [](const std::string& base, const std::string& over) {
    OptionList list = parse_options(over);
    for (const auto& option : parse_options(base))
      if (!find_option(list, option.first)) list.push_back(option);
    return to_string(list);
  };
  std::vector<ParameterGroup> result;
  std::vector<bool> used(patterns.size(), false);
  for (const ParameterGroup& group : groups) {
    std::vector<ParameterGroup> parts(patterns.size() + 1);  // the last: what matches none
    for (std::size_t k = 0; k < patterns.size(); ++k)
      parts[k].options = merged(group.options, patterns[k].options);
    parts.back().options = group.options;
    for (Parameter* parameter : group.parameters) {
      const auto found = std::ranges::find_if(patterns, [&](const GroupPattern& pattern) {
        return matches(parameter->name, pattern.pattern);
      });
      const auto k = static_cast<std::size_t>(found - patterns.begin());
      if (k < used.size()) used[k] = true;
      parts[k].parameters.push_back(parameter);
    }
    for (ParameterGroup& part : parts)
      if (!part.parameters.empty()) result.push_back(std::move(part));
  }
  std::vector<std::string> names;
  for (const ParameterGroup& group : groups)
    for (const Parameter* parameter : group.parameters) names.push_back(parameter->name);
  for (std::size_t k = 0; k < patterns.size(); ++k) {
    const std::string& pattern = patterns[k].pattern;
    check(used[k], "group '{}': no parameter is left that its pattern matches", pattern);
    const auto idle = unmatched(pattern, names);
    check(!idle, "group '{}': '{}' matches no parameter", pattern, idle.value_or(""));
  }
  return result;
}

}  // namespace minima
