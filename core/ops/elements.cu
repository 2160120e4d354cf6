/// All other ops of one loop, which work element by element, on a GPU: their loops written out for the types that they take; the elementwise
/// ones are those of the lists in core/ops/elementwise.hpp.
#include "core/cuda/each.hpp"
#include "core/ops/convert.hpp"
#include "core/ops/elementwise_map.hpp"
#include "core/ops/feed_forward_elements.hpp"
#include "core/ops/layout_places.hpp"

namespace minima::ops {
namespace {

template <class T>
struct Elementwise {
  template <class Op, std::size_t N>
  constexpr auto operator()() const {
    return elements_of<Map<Op, T, N>>;
  }
};

template <class T>
constexpr auto elementwise() {
  const Elementwise<T> write_out;
  return std::tuple{for_unary(UnaryOps{}, write_out), for_binary(BinaryOps{}, write_out),
                    for_binary(BinaryOpsWithoutBackward{}, write_out),
                    for_partials(BinaryOps{}, write_out),
                    write_out.template operator()<Where, 3>()};
}

template <class... T>
constexpr auto hidden() {
  return std::tuple{elements_of<HiddenForward<T>>..., elements_of<HiddenBackward<T>>...};
}

template <class... Bits>
constexpr auto moves() {
  return std::tuple{elements_of<Move<Bits>>..., elements_of<SelectRows<Bits>>...,
                    elements_of<LookUp<Bits>>...};
}
template <class... T>
constexpr auto sums() {
  return std::tuple{elements_of<AddRows<T>>..., elements_of<AddUp<T>>...};
}

template <class... Types>
struct TypeList {};
using AllTypes = TypeList<double, float, bf16, f16, i64, i32, u8>;

/// From every other type; to itself: filling.
template <class To, class From>
constexpr auto made_from() {
  if constexpr (std::same_as<To, From>)
    return elements_of<Fill<To>>;
  else
    return elements_of<Convert<To, From>>;
}
template <class To, class... From>
constexpr auto to(TypeList<From...>) {
  return std::tuple{made_from<To, From>()...};
}
template <class... To>
constexpr auto between(TypeList<To...> all) {
  return std::tuple{to<To>(all)...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{elementwise<float>(),
               elementwise<double>(),
               hidden<float, double, bf16, f16>(),
               moves<u8, u16, u32, u64>(),
               sums<float, double>(),
               between(AllTypes{})};

}  // namespace
}  // namespace minima::ops
