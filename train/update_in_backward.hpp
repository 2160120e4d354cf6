/// UpdateInBackward: an optimizer's step that is taken while backward goes on. Each parameter is stepped when its gradient is
/// whole, and the gradient cleared: those of all parameters never lie in memory together, and each is read while it is in
/// the cache.   Lv et al. 2023, arXiv:2306.09782 (LOMO), which does so with SGD.
///
///     UpdateInBackward update(optimizer, model.parameters(), {.lr_factor = schedule.factor(k)});
///     cross_entropy(model(batch, pass), batch.labels).backward();
///     StepReport report = update.finish();
///
/// Weights and state have the bits of a backward() and a step() after it. What must know all gradients before the first
/// weight changes is out of reach: clipping by the global norm, skipping a step whole, a gradient of several batches. On the
/// CPU alone: a GPU's step is one launch for all parameters.
#pragma once

#include <set>
#include <vector>

#include "autograd/variable.hpp"
#include "optim/optimizer.hpp"

namespace minima {

class UpdateInBackward {
 public:
  /// Bytes of gradients that are used together, as many as a second cache holds: small parameters one by one would cost more
  /// than they save.
  static constexpr i64 kTogether = 1 << 20;

  /// For the graph that is recorded from now on; gradients wait until there are `together` bytes of them. Optimizer and
  /// parameters must outlive this. Throws Error for options that need all gradients at once, and for parameters on a GPU.
  UpdateInBackward(Optimizer& optimizer, const std::vector<Parameter*>& parameters,
                   StepOptions options, i64 together = kTogether);

  /// Steps what has a gradient by now and was not stepped, and tells of all. The norm is that of all gradients. Where that of
  /// a parameter was not finite, the report says skipped: it and those that would have come after it are as they were, with
  /// their gradients, and the others are stepped.
  StepReport finish();

  /// Those that were stepped.
  const std::set<const Parameter*>& updated() const { return updated_; }
  /// The most that gradients took which waited for their step.
  i64 most_bytes() const { return most_bytes_; }

 private:
  void take(Parameter& parameter);
  void step(const std::vector<Parameter*>& parameters);

  Optimizer& optimizer_;
  const std::vector<Parameter*> parameters_;
  StepOptions options_;
  const i64 together_;
  std::vector<Parameter*> waiting_;
  i64 waiting_bytes_ = 0, most_bytes_ = 0;
  std::set<const Parameter*> updated_;
  double squares_ = 0;  ///< of the norms
  StepReport report_;
  OnWholeGradient on_whole_gradient_;
};

}  // namespace minima
