#include "core/cuda/each.hpp"
#include "core/ops/softmax_rows.hpp"

namespace minima::ops {
namespace {

template <class T>
constexpr auto all_rows() {
  return std::tuple{rows_of<Softmax<T>>, rows_of<SoftmaxBackward<T>>, rows_of<LogSoftmax<T>>,
                    rows_of<LogSoftmaxBackward<T>>};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_rows<float>(), all_rows<double>()};

}  // namespace
}  // namespace minima::ops
