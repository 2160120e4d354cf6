/// Clipping by the global norm (Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063), as in
/// torch.nn.utils.clip_grad_norm_.
///
///   norm = ‖all gradients, as one vector‖         every g ← g · min(1, max_norm/(norm + 10⁻⁶))
///
/// The optimizer folds the factor into its step: gradients are read once more for the norm and
/// never written. An infinite norm gives the factor 0.
#pragma once

#include <span>

#include "core/parameter.hpp"
#include "optim/norms.hpp"

namespace minima {

/// The norm over all gradients that there are, each entry times `scale`; the same bits for any
/// number of threads. 0 when there are none; NaN when an entry is. Waits for a GPU.
double global_norm(std::span<Parameter* const> parameters, Norm norm = Norm::l2, double scale = 1);

}  // namespace minima
