#include "optim/engine/engine.hpp"

#include <algorithm>
#include <functional>

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

std::vector<std::vector<std::size_t>> detail::side_by_side(std::span<const MatrixTask> tasks) {
  constexpr i64 kVeryLarge = i64{4} << 20;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < tasks.size(); ++i)
    if (tasks[i].elements > 0) order.push_back(i);
  std::ranges::stable_sort(order, std::greater(), [&](std::size_t i) { return tasks[i].elements; });
  const i64 allowed = order.empty() ? 0 : tasks[order.front()].elements;
  std::vector<std::vector<std::size_t>> groups;
  i64 taken = 0;
  for (const std::size_t i : order) {
    const i64 more = tasks[i].temporaries;
    const bool joins = !groups.empty() && tasks[groups.back().front()].elements < kVeryLarge &&
                       taken + more <= allowed;
    if (!joins) groups.emplace_back(), taken = 0;
    groups.back().push_back(i);
    taken += more;
  }
  return groups;
}

void detail::step_matrices(std::span<const StepView> views,
                           const std::function<void(const StepView& view)>& step,
                           const std::function<i64(const StepView& view)>& temporary) {
  std::vector<MatrixTask> tasks;
  for (const StepView& view : views) {
    const i64 elements = view.shape.size();
    tasks.push_back({elements, elements > 0 ? temporary(view) : 0});
  }
  for (const std::vector<std::size_t>& group : side_by_side(tasks))
    parallel_for(std::ssize(group),
                 [&](i64 i) { step(views[group[static_cast<std::size_t>(i)]]); });
}

}  // namespace minima
