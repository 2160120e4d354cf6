/// A step on a GPU, as the optimizer asks for it. Nothing here waits for the device: the norm, what
/// clipping makes of it, whether the step is skipped and each parameter's t stay there. Defined in
/// optim/engine.cu for the `Gpu` of each backend.
#pragma once

#include <span>

#include "core/device.hpp"
#include "optim/clip.hpp"
#include "optim/engine.hpp"

namespace minima {

/// The outcome that a tensor of bytes holds. Waits for the device.
inline Outcome read_outcome(const Tensor& there) {
  const Tensor here = there.to(Device{});
  return *reinterpret_cast<const Outcome*>(here.raw());
}

/// *outcome ← that of the norm of all parts as one vector.
template <AnyGpu Gpu>
void measure(Gpu gpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome);

/// One step of all views unless outcome->skipped, their gradients times outcome->scale.
template <AnyGpu Gpu>
void step(Gpu gpu, const AnyRule& rule, std::span<const StepView> views, double lr_factor,
          Outcome* outcome);

}  // namespace minima
