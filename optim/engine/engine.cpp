#include "optim/engine/engine.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/cpu/threads.hpp"

namespace minima {
namespace {

/// Groups of parameters, by their places, that are stepped side by side. A parameter is one task, so that its gradient stays
/// in the cache between passes; only the passes of a very large one (an embedding) are cut up, and it is a group by itself.
/// The largest come first, for an even load. The temporaries of a group are together no larger than the largest parameter, or
/// than those of one parameter. Empty parameters are in no group.
std::vector<std::vector<std::size_t>> side_by_side(const AnyRule& rule,
                                                   std::span<const ParameterShape> parameters) {
  constexpr i64 kVeryLarge = i64{4} << 20;
  const auto elements = [&](std::size_t i) { return parameters[i].shape.size(); };
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (elements(i) > 0) order.push_back(i);
  std::ranges::stable_sort(order, std::greater(), elements);
  std::vector<std::vector<std::size_t>> groups;
  i64 taken = 0;
  for (const std::size_t i : order) {
    const i64 more = rule.temporary(parameters[i]);
    const bool joins = !groups.empty() && elements(groups.back().front()) < kVeryLarge &&
                       taken + more <= elements(order.front());
    if (!joins) groups.emplace_back(), taken = 0;
    groups.back().push_back(i);
    taken += more;
  }
  return groups;
}

}  // namespace

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

i64 temporary_bytes(const AnyRule& rule, std::span<const ParameterShape> parameters) {
  i64 most = 0;
  for (const std::vector<std::size_t>& group : side_by_side(rule, parameters)) {
    std::vector<i64> floats;
    for (const std::size_t i : group) floats.push_back(rule.temporary(parameters[i]));
    std::ranges::sort(floats, std::greater());
    floats.resize(std::min(floats.size(), static_cast<std::size_t>(threads())));
    most = std::max(most, std::accumulate(floats.begin(), floats.end(), i64{0}));
  }
  return 4 * most;
}

void detail::step_matrices(const AnyRule& rule, std::span<const StepView> views,
                           const std::function<void(const StepView& view)>& step) {
  std::vector<ParameterShape> parameters;
  for (const StepView& view : views) parameters.push_back({view.parameter->name, view.shape});
  for (const std::vector<std::size_t>& group : side_by_side(rule, parameters))
    parallel_for(std::ssize(group),
                 [&](i64 i) { step(views[group[static_cast<std::size_t>(i)]]); });
}

}  // namespace minima
