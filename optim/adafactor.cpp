#include "optim/adafactor.hpp"

namespace minima {

std::vector<Slot> Adafactor::slots(const Options& o, const ParameterShape& parameter) {
  std::vector<Slot> slots = factored_slots("exp_avg_sq", parameter.shape, "R", "C");
  slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
  if (o.beta1) slots.push_back({"exp_avg", "m"});
  return slots;
}

void Adafactor::note(const Options& o, const StepView& x) {
  x.note("β₂", "1 − t^decay_rate", beta2(o, x));
  note_means(x, running_means(x, 0), "R", "C");
  x.note("RMS(p)", "before the step", static_cast<double>(weight_rms(x)));
  x.note("s", o.relative_step ? "the relative step min(10⁻², 1/√t)" : "lr", base(o, x));
  x.note("α", o.scale_parameter ? "s · max(ε₂, RMS(p))" : "s", alpha(o, x));
  note_clip(x, o.clip_threshold);
}

}  // namespace minima
