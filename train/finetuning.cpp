#include "train/finetuning.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "optim/options.hpp"

namespace minima {
namespace {

/// Whether `parts` are whole parts of the name, between its points.
bool has_parts(const std::string& name, const std::string& parts) {
  return ("." + name + ".").find("." + parts + ".") != std::string::npos;
}

/// l of "….layer.l.…"; −1 of the embeddings; none of a head.
std::optional<i64> layer_of(const std::string& name) {
  constexpr std::string_view kLayer = ".layer.";
  if (const std::size_t at = name.find(kLayer); at != std::string::npos) {
    i64 layer = 0;
    const char* const digits = name.data() + at + kLayer.size();
    if (std::from_chars(digits, name.data() + name.size(), layer).ec == std::errc()) return layer;
  }
  if (has_parts(name, "embeddings")) return -1;
  return {};
}

/// `options` with lr · factor for lr, which is taken from the spec's where it is not there.
std::string with_factor(const std::string& options, const std::string& spec, double factor) {
  OptionList own = parse_options(options);
  const auto [name, of_spec] = parse_spec(spec);
  const std::string* lr = find_option(own, "lr");
  if (!lr) lr = find_option(of_spec, "lr");
  check(lr != nullptr && *lr != "none",
        "layer-decay: '{}' has no learning rate to multiply; give it one: "
        "lr=…, with relative_step=false",
        spec);
  const std::string scaled = fmt::format("{}", factor * parse_number(name, "lr", *lr));
  std::erase_if(own, [](const auto& option) { return option.first == "lr"; });
  own.insert(own.begin(), {"lr", scaled});
  return to_string(own);
}

}  // namespace

bool freezes(const std::vector<std::string>& patterns, const std::string& name) {
  return std::ranges::any_of(patterns, [&](const auto& each) { return has_parts(name, each); });
}

void check_freezing(const std::vector<std::string>& patterns,
                    const std::vector<std::string>& names) {
  for (const std::string& pattern : patterns)
    check(std::ranges::any_of(names, [&](const auto& name) { return has_parts(name, pattern); }),
          "freeze: no parameter's name has the part '{}'; the first is '{}'", pattern,
          names.empty() ? "" : names.front());
}

void freeze(const std::vector<Parameter*>& parameters, const std::vector<std::string>& patterns) {
  std::vector<std::string> names;
  for (const Parameter* parameter : parameters) names.push_back(parameter->name);
  check_freezing(patterns, names);
  const auto trains = [&](const Parameter* each) {
    return each->trainable && !freezes(patterns, each->name);
  };
  check(patterns.empty() || std::ranges::any_of(parameters, trains),
        "freeze: nothing is left to train");
  for (Parameter* parameter : parameters) parameter->trainable = trains(parameter);
}

std::vector<ParameterGroup> decay_by_layer(const std::vector<ParameterGroup>& groups,
                                           const std::string& spec, double decay) {
  check(decay > 0 && decay <= 1, "layer-decay is {}; it must be above 0 and at most 1", decay);
  if (decay == 1) return groups;
  i64 layers = 0;
  for (const ParameterGroup& group : groups)
    for (const Parameter* parameter : group.parameters)
      layers = std::max(layers, layer_of(parameter->name).value_or(-1) + 1);
  std::vector<ParameterGroup> result;
  for (const ParameterGroup& group : groups) {
    std::map<i64, ParameterGroup> by_depth;
    for (Parameter* parameter : group.parameters) {
      const i64 depth = layers - layer_of(parameter->name).value_or(layers);
      by_depth[depth].parameters.push_back(parameter);
    }
    for (auto& [depth, part] : by_depth) {
      part.options = with_factor(group.options, spec, std::pow(decay, depth));
      result.push_back(std::move(part));
    }
  }
  return result;
}

}  // namespace minima
