#include "core/cuda/each.hpp"
#include "core/ops/embedding_rows.hpp"

namespace minima::ops {
namespace {

template <class... T>
constexpr auto loops() {
  return std::tuple{elements_of<SumOfPlaces<T>>..., rows_of<AddRow<T>>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{rows_of<SortPlaces>, rows_of<RowsOfPlaces>, loops<float, double>()};

}  // namespace
}  // namespace minima::ops
