#include "core/cuda/each.hpp"
#include "core/ops/layer_norm_row.hpp"

namespace minima::ops {
namespace {

template <class T>
constexpr auto all_rows() {
  return std::tuple{rows_of<LayerNormForward<T>>, rows_of<LayerNormBackward<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_rows<float>(), all_rows<double>()};

}  // namespace
}  // namespace minima::ops
