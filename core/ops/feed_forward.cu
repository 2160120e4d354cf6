#include "core/cuda/each.hpp"
#include "core/ops/feed_forward_elements.hpp"

namespace minima::ops {
namespace {

template <class... T>
constexpr auto all_elements() {
  return std::tuple{elements_of<HiddenForward<T>>..., elements_of<HiddenBackward<T>>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut = all_elements<float, double, bf16, f16>();

}  // namespace
}  // namespace minima::ops
