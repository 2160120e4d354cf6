#include "core/cuda/each.hpp"
#include "core/ops/embedding_rows.hpp"

namespace minima::ops {
namespace {

template <class... T>
constexpr auto loops() {
  return std::tuple{elements_of<SumOfPlaces<T>>..., rows_of<AddRow<T>>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{rows_of<SortTiles>, elements_of<MergeTiles>, rows_of<CountRows>,
               rows_of<RowsOfPlaces>, loops<float, double>()};

}  // namespace
}  // namespace minima::ops
