#include "core/cuda/each.hpp"
#include "core/ops/layout_places.hpp"

namespace minima::ops {
namespace {

template <class... Bits>
constexpr auto moves() {
  return std::tuple{elements_of<Move<Bits>>..., elements_of<SelectRows<Bits>>...,
                    elements_of<LookUp<Bits>>...};
}
template <class... T>
constexpr auto sums() {
  return std::tuple{elements_of<AddRows<T>>..., elements_of<AddUp<T>>...};
}

[[gnu::used, maybe_unused]] const auto kWrittenOut =
    std::tuple{moves<u8, u16, u32, u64>(), sums<float, double>()};

}  // namespace
}  // namespace minima::ops
