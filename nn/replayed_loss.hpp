/// ReplayedLoss: a loss of batches whose shapes repeat. For each shape a GPU's kernels are recorded once; from then on forward
/// and backward are queued by one call each (core/recording.hpp), and have the same bits.
///
///     ReplayedLoss loss(model.parameters(), [&](const Batch& batch, const Pass& pass) {
///       return cross_entropy(model(batch, pass), batch.labels);
///     });
///     const BatchLayout layout(batch);
///     loss(layout, layout.numbers(batch).to(device), pass).backward();
///
/// The first batch of a layout is computed kernel by kernel, which brings the memory that is needed and has the libraries
/// load their code; the second is recorded. Recordings share the memory of a batch or two (a new layout needs its own beside
/// it), but each has a gradient of its own for every parameter: of more than kMostRecorded layouts the least recently used is
/// forgotten.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/variable.hpp"
#include "nn/pass.hpp"

namespace minima::nn {

class ReplayedLoss {
 public:
  /// `loss` must not look at values on the host: not at those of the batch, which lies on the device, nor at `pass.step`,
  /// in place of which kernels read pass.step_there. The parameters must outlive this.
  using Function = std::function<Variable(const Batch& batch, const Pass& pass)>;
  ReplayedLoss(std::vector<Parameter*> parameters, Function loss);

  /// The loss of the batch whose numbers these are, on the parameters' device. Its backward is due before the next call;
  /// later it is an Error. Computed kernel by kernel on the CPU, where nothing is recorded for backward, and where somebody
  /// looks at single ops (autograd/observer.hpp).
  Variable operator()(const BatchLayout& layout, const Tensor& numbers, const Pass& pass);

  static constexpr i64 kMostRecorded = 32;
  i64 recorded() const;  ///< layouts

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace minima::nn
