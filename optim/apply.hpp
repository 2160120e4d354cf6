/// Around the loop of optim/view.hpp: which stretches of a parameter a step changes, and the formula
/// once more for the one element that a probe asks for.
#pragma once

#include <vector>

#include "optim/rule.hpp"
#include "optim/view.hpp"

namespace minima {

struct Stretch {
  i64 begin, end;
};

/// What is changed, in tasks that depend on shapes and given rows alone: everything, or the given rows
/// (in block8 with the rest of their blocks, which `update` leaves alone).
template <std::size_t K>
std::vector<Stretch> moved_stretches(const StepView& view, const std::array<SlotView, K>& slots) {
  std::vector<Stretch> result;
  const i64 size = view.shape.size(), task = task_size(slots);
  if (!view.skips_rows()) {
    for (i64 begin = 0; begin < size; begin += task)
      result.push_back({begin, std::min(size, begin + task)});
    return result;
  }
  i64 block = 1;
  for (const SlotView& slot : slots)
    if (slot.storage == Storage::block8) block = slot.block_size;
  const i64 width = view.gradient.width;
  for (i64 k = 0; k < view.gradient.count; ++k) {
    const i64 row = view.gradient.ids[k];
    const i64 begin = row * width / block * block;
    const i64 end = std::min(size, ((row + 1) * width + block - 1) / block * block);
    if (result.empty() || begin > result.back().end ||
        result.back().end - result.back().begin > task)
      result.push_back({result.empty() ? begin : std::max(begin, result.back().end), end});
    else
      result.back().end = end;
  }
  return result;
}

/// The formula of the probe's element, from the numbers before the step, on Traced scalars.
template <class Formula, std::size_t... K>
void trace_element(const StepView& view, const std::array<SlotView, sizeof...(K)>& slots, i64 width,
                   const Formula& formula, std::index_sequence<K...>) {
  if (!view.probe || view.probe->element < 0) return;
  const i64 at = view.probe->element;
  float scratch = 0;
  const float p0 = *open(view.value, at, 1, &scratch);
  const float raw = *open(view.gradient, at, 1, &scratch);
  const std::array<float, sizeof...(K)> before{*open(slots[K], at, 1, &scratch)...};
  const auto run = [&](const auto& row, Trace& trace) {
    Traced p = trace.input("p", p0), g = trace.input("g", raw);
    if (view.gradient_scale != 1) g = named("g", Traced(view.gradient_scale) * g);
    const float limit = view.clip_value;
    if (limit > 0 && (g.value > limit || g.value < -limit))
      g = trace.input("g", g.value > 0 ? limit : -limit);
    std::array<Traced, sizeof...(K)> s{trace.input(std::string(slots[K].letter), before[K])...};
    row(at % width, p, g, s[K]...);
    (trace.name(s[K], std::string(slots[K].letter)), ...);
    trace.name(p, "p");
  };
  Trace& trace = view.probe->trace;
  auto row = formula.row(at / width);
  run(row, trace);
  if constexpr (requires { row.constants([](const char*, float&) {}); }) {
    Trace marked;
    std::vector<float> marks;
    std::vector<Trace::Constant> constants;
    row.constants([&](const char* letter, float& constant) {
      constants.push_back({letter, constant});
      constant = marks.emplace_back(4194304.0f + static_cast<float>(marks.size()));
    });
    run(row, marked);
    trace.take_letters(marked, marks, std::move(constants));
  }
}

}  // namespace minima
