/// Every elementwise op on a GPU: those of the lists in core/ops/elementwise.hpp.
#include "core/cuda/each.hpp"
#include "core/ops/elementwise_map.hpp"

namespace minima::ops {
namespace {

template <class T>
struct Elements {
  template <class Op, std::size_t N>
  constexpr auto operator()() const {
    return elements_of<Map<Op, T, N>>;
  }
};

template <class T>
constexpr auto all_elements() {
  const Elements<T> write_out;
  return std::tuple{for_unary(UnaryOps{}, write_out), for_binary(BinaryOps{}, write_out),
                    for_binary(BinaryOpsWithoutBackward{}, write_out),
                    for_partials(BinaryOps{}, write_out),
                    write_out.template operator()<Where, 3>()};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{all_elements<float>(), all_elements<double>()};

}  // namespace
}  // namespace minima::ops
