#include "core/cuda/each.hpp"
#include "core/ops/reduce_lines.hpp"

namespace minima::ops {
namespace {

template <class T, class... Reductions>
constexpr auto all_reductions() {
  return std::tuple{rows_of<ReduceLine<Reductions, T>>...,
                    elements_of<ReduceColumn<Reductions, T>>..., elements_of<ArgmaxLine<T>>,
                    elements_of<RunningSum<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut = std::tuple{
    all_reductions<float, SumOf, MaxOf, MinOf>(), all_reductions<double, SumOf, MaxOf, MinOf>()};

}  // namespace
}  // namespace minima::ops
