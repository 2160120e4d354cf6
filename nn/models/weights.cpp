#include "nn/models/weights.hpp"

#include <set>

#include "core/ops/finite.hpp"
#include "core/text/utf8.hpp"

namespace minima::nn {
namespace {

/// Every name that a parameter may have in a checkpoint.
std::vector<std::string> aliases(const std::string& parameter, const ArchitectureNames& names) {
  std::vector<std::string> all{parameter};
  const std::string prefix = std::string(names.model_type) + ".";
  if (parameter.starts_with(prefix)) all.push_back(parameter.substr(prefix.size()));
  for (const auto& [now, once] :
       {std::pair<std::string_view, const char*>{"LayerNorm.weight", "LayerNorm.gamma"},
        {"LayerNorm.bias", "LayerNorm.beta"}})
    if (parameter.ends_with(now))
      for (std::size_t i = 0, n = all.size(); i < n; ++i)
        all.push_back(all[i].substr(0, all[i].size() - now.size()) + once);
  return all;
}

/// Whether a parameter belongs to the encoder proper, which a checkpoint must have.
bool is_of_encoder(const std::string& parameter, const ArchitectureNames& names) {
  return parameter.starts_with(std::string(names.model_type) + ".") &&
         !parameter.starts_with(std::string(names.pre_classifier) + ".");
}

/// A buffer of the public library that holds 0, 1, 2, …
bool is_position_ids(const std::string& tensor) {
  return tensor == "position_ids" || tensor.ends_with(".position_ids");
}

}  // namespace

std::optional<std::string> find_tensor(const ModelWeights& weights, const std::string& parameter,
                                       const ArchitectureNames& names) {
  std::optional<std::string> found;
  for (const std::string& name : aliases(parameter, names)) {
    if (!weights.contains(name)) continue;
    check(!found, "{}: '{}' and '{}' are both the model's '{}'", weights.path().string(),
          found.value_or(""), name, parameter);
    found = name;
  }
  return found;
}

std::optional<std::string> bare_name(const std::string& tensor) {
  for (const Architecture architecture : kArchitectures) {
    const ArchitectureNames& names = names_of(architecture);
    const std::string prefix = std::string(names.model_type) + ".",
                      pooler = names.pre_classifier;  // in the encoder or, without prefix, outside
    if (tensor.starts_with(prefix)) return tensor.substr(prefix.size());
    if (tensor.starts_with("embeddings.") || tensor.starts_with(std::string(names.layers) + ".") ||
        (pooler.starts_with(prefix) && tensor.starts_with(pooler.substr(prefix.size()))))
      return tensor;
  }
  return {};
}

std::vector<std::string> WeightMatch::notes() const {
  std::vector<std::string> lines, made;
  for (const auto& [parameter, why] : anew) made.push_back(fmt::format("{} ({})", parameter, why));
  if (!made.empty()) lines.push_back("made anew: " + listed(made));
  if (!unused.empty()) lines.push_back("in the checkpoint, not used: " + listed(unused));
  return lines;
}

void WeightMatch::make_anew(const std::string& prefix, const std::string& why) {
  std::erase_if(tensor_of, [&](const auto& entry) {
    const bool taken = entry.first.starts_with(prefix);
    if (taken) anew[entry.first] = why;
    return taken;
  });
}

WeightMatch match_weights(const std::vector<Parameter*>& parameters, const ModelWeights& weights,
                          const ArchitectureNames& names) {
  WeightMatch match;
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const Parameter* parameter : parameters) {
    const Shape& shape = parameter->value.shape();
    const auto tensor = find_tensor(weights, parameter->name, names);
    if (tensor) used.insert(*tensor);
    if (tensor && weights.entry(*tensor).shape == shape)
      match.tensor_of[parameter->name] = *tensor;
    else if (!is_of_encoder(parameter->name, names))
      match.anew[parameter->name] =
          tensor ? fmt::format("{} in the checkpoint, {} here", weights.entry(*tensor).shape, shape)
                 : "not in the checkpoint";
    else if (tensor)
      problems.push_back(
          fmt::format("'{}' is {} and must be {}", *tensor, weights.entry(*tensor).shape, shape));
    else
      problems.push_back(fmt::format("'{}' {} is missing", parameter->name, shape));
  }
  check(problems.empty(), "{}: does not fit config.json: {}; are both of one model?",
        weights.path().string(), listed(problems));
  for (const std::string& name : weights.names())
    if (!used.contains(name) && !is_position_ids(name)) match.unused.push_back(name);
  return match;
}

void read_weights(const std::vector<Parameter*>& parameters, const ModelWeights& weights,
                  const WeightMatch& match) {
  for (Parameter* parameter : parameters)
    if (const auto tensor = match.tensor_of.find(parameter->name);
        tensor != match.tensor_of.end()) {
      weights.read_into(parameter->value, tensor->second);
      const i64 at = ops::first_non_finite(parameter->value);
      check(at < 0, "{}: tensor '{}' is not finite at element {}: the weights are damaged",
            weights.holder(tensor->second).path().string(), tensor->second, at);
    }
}

void check_sizes(const EncoderConfig& config, const ModelWeights& weights) {
  const ArchitectureNames& names = config.names();
  const auto require = [&](const std::string& path, const Shape& shape) {
    const std::string parameter = std::string(names.model_type) + "." + path;
    const auto tensor = find_tensor(weights, parameter, names);
    check(tensor.has_value(),
          "{}: '{}' is missing, config.json asks for {}; are both of one model?",
          weights.path().string(), parameter, shape);
    check(weights.entry(*tensor).shape == shape,
          "{}: '{}' is {}, config.json asks for {}; are both of one model?",
          weights.path().string(), *tensor, weights.entry(*tensor).shape, shape);
  };
  require("embeddings.word_embeddings.weight", {config.vocabulary, config.dim});
  require("embeddings.position_embeddings.weight", {config.positions, config.dim});
  if (config.architecture == Architecture::bert)
    require("embeddings.token_type_embeddings.weight", {config.token_types, config.dim});
  const std::string feed_forward =
      *names.block.feed_forward ? std::string(names.block.feed_forward) + "." : "";
  require(fmt::format("{}.{}.{}{}.weight", names.layers, config.layers - 1, feed_forward,
                      names.block.lin1),
          {config.hidden, config.dim});
}

}  // namespace minima::nn
