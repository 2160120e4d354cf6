/// A step on a GPU, as the optimizer asks for it. Nothing here waits for the device: the norm, what
/// clipping makes of it, whether the step is skipped and each parameter's t stay there. Defined in
/// optim/engine.cu for the `Gpu` of each backend.
#pragma once

#include <span>

#include "core/device.hpp"
#include "optim/clip.hpp"
#include "optim/engine.hpp"

namespace minima {

/// What became of a step, in the device's memory.
struct Outcome {
  double norm = 0;   ///< of the gradient, scaled
  double scale = 1;  ///< multiplies every gradient: unscaling and clipping in one
  double loss = 0;   ///< that of the options
  u16 clipped = 0,
      skipped = 0;           ///< 1: yes. With no gap before what follows: a copy reads every byte
  unsigned bad_weights = 0;  ///< 1: some weight is inf or NaN now
};

/// The one that a tensor of bytes holds. Waits for the device.
inline Outcome read_outcome(const Tensor& there) {
  const Tensor here = there.to(Device{});
  return *reinterpret_cast<const Outcome*>(here.raw());
}

struct OutcomeOptions {
  double gradient_scale = 1, clip_norm = 0;
  bool skip_non_finite = false;
  const double* loss = nullptr;  ///< in the device's memory; null: none
};

/// An array whose entries enter a norm.
struct NormPart {
  SlotView values;
  i64 size;
};

/// outcome.norm ← the norm of all parts as one vector, times |gradient_scale|; then the rest of it.
template <AnyGpu Gpu>
void measure(Gpu gpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome);

/// One step of all views unless outcome->skipped, their gradients times outcome->scale.
template <AnyGpu Gpu>
void step(Gpu gpu, const AnyRule& rule, std::span<const StepView> views, double lr_factor,
          Outcome* outcome);

}  // namespace minima
