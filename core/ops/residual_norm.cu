#include "core/cuda/each.hpp"
#include "core/ops/residual_norm_rows.hpp"

namespace minima::ops {
namespace {

template <class X>
constexpr auto all_rows() {
  return std::tuple{rows_of<ResidualNormForward<Widened<X>, X>>,
                    rows_of<ResidualNormBackward<Widened<X>, X>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_rows<float>(), all_rows<double>(), all_rows<bf16>(), all_rows<f16>()};

}  // namespace
}  // namespace minima::ops
