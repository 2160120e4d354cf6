/// Groups: parameters that share options.
///
///     make_optimizer("adamw:lr=5e-4", decay_groups(model.parameters()));
#pragma once

#include <string>
#include <vector>

#include "core/parameter.hpp"

namespace minima {

/// `options` are written as on the command line ("lr=1e-3:weight_decay=0") and stand over those of
/// the optimizer's spec.
struct ParameterGroup {
  std::vector<Parameter*> parameters;
  std::string options;
};

/// Two groups: everything else, and, with weight_decay=0, biases and layer norms (the name ends in
/// `bias` or contains `layer_norm` or `LayerNorm`). A group that would be empty is left out.
std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters);
/// The same, in one group where the optimizer that `spec` names has no option weight_decay.
std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters,
                                         const std::string& spec);

/// Options for parameters whose name matches `pattern` ("embeddings|^classifier"; see matches).
struct GroupPattern {
  std::string pattern, options;
  /// Reads "embeddings|bias:lr=1e-5:weight_decay=0". Throws Error without a pattern or an option.
  static GroupPattern parse(const std::string& text);
};

/// Splits each group by the first pattern that a parameter's name matches; the pattern's options
/// stand over the group's, which keeps what matches none. Throws Error for a pattern that no parameter is left for, and
/// for an alternative in it that matches none.
std::vector<ParameterGroup> group_by_pattern(const std::vector<ParameterGroup>& groups,
                                             const std::vector<GroupPattern>& patterns);

}  // namespace minima
