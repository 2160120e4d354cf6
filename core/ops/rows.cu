/// The ops that work by rows, or sum over some, on a GPU: their loops written out for the types that they take.
#include "core/cuda/each.hpp"
#include "core/ops/cross_entropy_rows.hpp"
#include "core/ops/dropout_rows.hpp"
#include "core/ops/embedding_rows.hpp"
#include "core/ops/layer_norm_row.hpp"
#include "core/ops/pool_rows.hpp"
#include "core/ops/reduce_lines.hpp"
#include "core/ops/residual_norm_rows.hpp"
#include "core/ops/softmax_rows.hpp"

namespace minima::ops {
namespace {

template <class... T>
constexpr auto rows() {
  return std::tuple{rows_of<Softmax<T>>...,
                    rows_of<SoftmaxBackward<T>>...,
                    rows_of<LogSoftmax<T>>...,
                    rows_of<LogSoftmaxBackward<T>>...,
                    rows_of<LayerNormForward<T>>...,
                    rows_of<LayerNormBackward<T>>...,
                    rows_of<CrossEntropyForward<T>>...,
                    rows_of<CrossEntropyBackward<T>>...,
                    rows_of<MeanLoss<T>>...,
                    rows_of<DropoutRows<T>>...,
                    rows_of<MeanPool<T>>...,
                    rows_of<MeanPoolBackward<T>>...,
                    rows_of<AddRow<T>>...,
                    elements_of<SumOfPlaces<T>>...};
}

template <class... X>
constexpr auto residual_norms() {
  return std::tuple{rows_of<ResidualNormForward<Widened<X>, X>>...,
                    rows_of<ResidualNormBackward<Widened<X>, X>>...};
}

template <class T, class... Reductions>
constexpr auto reductions() {
  return std::tuple{rows_of<ReduceLine<Reductions, T>>...,
                    elements_of<ReduceColumn<Reductions, T>>..., elements_of<ArgmaxLine<T>>,
                    elements_of<RunningSum<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{rows<float, double>(),
               residual_norms<float, double, bf16, f16>(),
               reductions<float, SumOf, SumOfSquares, NormOf, MaxOf, MinOf>(),
               reductions<double, SumOf, SumOfSquares, NormOf, MaxOf, MinOf>(),
               rows_of<CountTargets>,
               rows_of<SortTiles>,
               elements_of<MergeTiles>,
               rows_of<CountRows>,
               rows_of<RowsOfPlaces>};

}  // namespace
}  // namespace minima::ops
