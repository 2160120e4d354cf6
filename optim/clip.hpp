/// Clipping by the global norm (Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063), as in
/// torch.nn.utils.clip_grad_norm_.
///
///   norm = ‖all gradients, as one vector‖         every g ← g · min(1, max_norm/(norm + 10⁻⁶))
///
/// The optimizer folds the factor into its step: gradients are read once more for the norm and
/// never written. An infinite norm gives the factor 0.
#pragma once

#include <cmath>
#include <span>

#include "core/device.hpp"
#include "core/parameter.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

enum class Norm { l1, l2, maximum };

/// min(1, max_norm/(norm + 10⁻⁶))
MINIMA_HD double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor < 1 || factor != factor ? factor : 1;
}

/// What a norm adds up for one entry, how, and what is made of the sum: the same on every device.
template <Norm kNorm>
struct NormTerms {
  MINIMA_HD double term(double x) const { return kNorm == Norm::l2 ? x * x : x < 0 ? -x : x; }
  MINIMA_HD double operator()(double a, double b) const {
    // NaN stays, whichever side it comes from.
    return kNorm == Norm::maximum ? (b > a || b != b ? b : a) : a + b;
  }
  MINIMA_HD double finish(double sum) const {
    using std::sqrt;
    return kNorm == Norm::l2 ? sqrt(sum) : sum;
  }
};

/// f(NormTerms<norm>{})
template <class F>
auto with_norm(Norm norm, const F& f) {
  switch (norm) {
    case Norm::l1:
      return f(NormTerms<Norm::l1>{});
    case Norm::maximum:
      return f(NormTerms<Norm::maximum>{});
    case Norm::l2:
      break;
  }
  return f(NormTerms<Norm::l2>{});
}

/// What becomes of a step; on a GPU, in its memory.
struct Outcome {
  double norm = 0;   ///< of the gradient, scaled
  double scale = 1;  ///< multiplies every gradient: unscaling and clipping in one
  double loss = 0;   ///< that of the options
  /// 1: yes. No padding before what follows: a copy reads every byte.
  u16 clipped = 0, skipped = 0;
  unsigned bad_weights = 0;  ///< 1: some weight is inf or NaN now
};

struct OutcomeOptions {
  double gradient_scale = 1, clip_norm = 0;
  bool skip_non_finite = false;
  const double* loss = nullptr;  ///< in a GPU's memory; null: none
};

/// The outcome for a gradient that has this norm before it is scaled.
MINIMA_HD Outcome outcome_of(double norm, const OutcomeOptions& options) {
  Outcome outcome;
  const double scale = options.gradient_scale;
  outcome.norm = (scale < 0 ? -scale : scale) * norm;
  outcome.loss = options.loss ? *options.loss : 0;
  const bool finite = outcome.norm - outcome.norm == 0 && outcome.loss - outcome.loss == 0;
  outcome.skipped = options.skip_non_finite && !finite;
  const double factor = options.clip_norm > 0 ? clip_factor(outcome.norm, options.clip_norm) : 1.0;
  outcome.clipped = factor != 1 && !outcome.skipped;
  outcome.scale = scale * factor;
  return outcome;
}

/// An array whose entries enter a norm.
struct NormPart {
  SlotView values;
  i64 size;
};

/// *outcome ← the outcome for the norm of all parts as one vector. Does not wait for a GPU.
void measure(Cpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome);
template <AnyGpu Gpu>
void measure(Gpu gpu, std::span<const NormPart> parts, Norm norm, const OutcomeOptions& options,
             Outcome* outcome);

/// The outcome that a tensor of bytes holds. Waits for a GPU.
inline Outcome read_outcome(const Tensor& there) {
  const Tensor here = there.to(Device{});
  return *reinterpret_cast<const Outcome*>(here.raw());
}

/// The norm of all parts as one vector. Waits for a GPU.
double norm_of(Device device, std::span<const NormPart> parts, Norm norm = Norm::l2);

/// The norm over all gradients that there are, each entry times `scale`; the same bits for any
/// number of threads. 0 when there are none; NaN when an entry is. Waits for a GPU.
double global_norm(std::span<Parameter* const> parameters, Norm norm = Norm::l2, double scale = 1);

}  // namespace minima
