/// An optimizer's step that is taken while backward goes on. Each parameter is stepped when its gradient is whole, and the
/// gradient cleared: those of all parameters never lie in memory together, and each is read while it is in the cache.
///   Lv et al. 2023, arXiv:2306.09782 (LOMO), which does so with SGD.
///
///     const Variable loss = cross_entropy(model(batch, pass), batch.labels);
///     StepReport report = update_in_backward(loss, Tensor::scalar(1), optimizer, model.parameters(),
///                                            {.lr_factor = schedule.factor(k)}).report;
///
/// Weights and state have the bits of loss.backward() and optimizer.step(). What must know all gradients before the first
/// weight changes is out of reach: clipping by the global norm, skipping a step whole, a gradient of several batches or
/// losses. On the CPU alone: a GPU's step is one launch for all parameters.
#pragma once

#include <set>
#include <vector>

#include "autograd/variable.hpp"
#include "optim/optimizer.hpp"

namespace minima {

struct UpdatedInBackward {
  /// Of all that was stepped; the norm is that of all gradients. Where that of some parameters was not finite it says skipped:
  /// these, and all that would have come after them, are unchanged and keep their gradients; the others are stepped.
  StepReport report;
  std::set<const Parameter*> parameters;  ///< that were stepped
  i64 most_bytes = 0;                     ///< of gradients that waited for their step, at most
};

/// Bytes of gradients that are used together, as many as a second cache holds: small parameters one by one would cost more than
/// they save.
inline constexpr i64 kUpdatedTogether = 1 << 20;

/// Goes back from `loss` with the gradient `dy`, and steps those of `parameters` that the optimizer has. Throws Error for
/// parameters on a GPU, for options that clip the norm, and as Variable::backward and Optimizer::step do; then some weights
/// are changed and others not. So it does where a parameter that was stepped gets a gradient again, from a checkpoint that
/// uses it too, which has seen its new value.
UpdatedInBackward update_in_backward(const Variable& loss, const Tensor& dy, Optimizer& optimizer,
                                     const std::vector<Parameter*>& parameters, StepOptions options,
                                     i64 together = kUpdatedTogether);

}  // namespace minima
