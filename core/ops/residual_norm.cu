#include "core/cuda/each.hpp"
#include "core/ops/residual_norm_rows.hpp"

namespace minima::ops {
namespace {

template <class T>
constexpr auto all_rows() {
  return std::tuple{rows_of<ResidualNormForward<T>>, rows_of<ResidualNormBackward<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_rows<float>(), all_rows<double>()};

}  // namespace
}  // namespace minima::ops
