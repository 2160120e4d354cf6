#include "core/cuda/each.hpp"
#include "core/ops/embedding_rows.hpp"

namespace minima::ops {
namespace {

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{rows_of<SumOfPlaces<float>>, rows_of<SumOfPlaces<double>>};

}  // namespace
}  // namespace minima::ops
