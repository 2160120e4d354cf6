/// Fine-tuning: training a pre-trained encoder on, its lower layers with care or not at all.
///
///     freeze(model.parameters(), {"embeddings", "layer.0"});
///     auto groups = decay_by_layer(decay_groups(model.parameters()), "adamw:lr=1e-4", 0.9);
#pragma once

#include <string>
#include <vector>

#include "optim/optimizer.hpp"

namespace minima {

/// Parameters whose name has one of `patterns` as whole parts between its dots are trained no more:
/// "layer.1" freezes bert.encoder.layer.1.output.dense.weight, not those of layer.10. What stands
/// below the lowest layer that trains is not even computed in the backward pass. Throws Error for a
/// pattern that no name has, and when nothing would be left to train.
void freeze(const std::vector<Parameter*>& parameters, const std::vector<std::string>& patterns);
/// The same by names alone: whether a parameter is frozen, and the Error for a pattern that none of the names has.
bool freezes(const std::vector<std::string>& patterns, const std::string& name);
void check_freezing(const std::vector<std::string>& patterns,
                    const std::vector<std::string>& names);

/// Splits groups by layer: the learning rate of a layer is `decay` times that of the one above it.
/// Above all are the heads, below all the embeddings: of L layers, layer l has
/// lr · decay^(L − l), the embeddings lr · decay^(L + 1) (Clark et al. 2020, arXiv:2003.10555, app. B).
/// lr is the group's own or that of `spec`. Throws Error for a decay outside of 0 < decay ≤ 1, and
/// where there is no lr to multiply (relative_step).
std::vector<ParameterGroup> decay_by_layer(const std::vector<ParameterGroup>& groups,
                                           const std::string& spec, double decay);

}  // namespace minima
