#include "optim/engine/engine.hpp"

#include "core/cpu/threads.hpp"

namespace minima {

void step(Cpu, const AnyRule& rule, std::span<StepView> views, double lr_factor, Outcome* outcome) {
  if (outcome->skipped) return;
  for (StepView& view : views) {
    view.gradient_scale = static_cast<float>(outcome->scale);
    view.bad_weights = &outcome->bad_weights;
  }
  rule.step(views, lr_factor);
  for (StepView& view : views)
    if (view.step) ++*view.step;
}

/// A parameter is one task, so that its gradient stays in the cache between passes; only the passes of a
/// very large one (an embedding) are cut up. The largest come first, for an even load. So many run
/// side by side that their temporaries together are no larger than the largest parameter.
void detail::step_matrices(std::span<const StepView> views,
                           const std::function<void(const StepView& view)>& step,
                           const std::function<i64(const StepView& view)>& temporary) {
  constexpr i64 kVeryLarge = i64{4} << 20;
  std::vector<const StepView*> tasks;
  for (const StepView& view : views)
    if (view.shape.size() > 0) tasks.push_back(&view);
  const auto size = [](const StepView* view) { return view->shape.size(); };
  std::stable_sort(tasks.begin(), tasks.end(),
                   [&](const StepView* a, const StepView* b) { return size(a) > size(b); });
  const i64 allowed = tasks.empty() ? 0 : size(tasks.front());
  for (auto first = tasks.begin(), last = first; first != tasks.end(); first = last) {
    i64 taken = 0;
    while (last != tasks.end() && (last == first || size(*first) < kVeryLarge)) {
      const i64 more = temporary(**last);
      if (last != first && taken + more > allowed) break;
      taken += more;
      ++last;
    }
    parallel_for(last - first, [&](i64 i) { step(*first[i]); });
  }
}

}  // namespace minima
