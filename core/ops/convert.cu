#include "core/cuda/each.hpp"
#include "core/ops/convert.hpp"

namespace minima::ops {
namespace {

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

[[gnu::used, maybe_unused]] const auto kWrittenOut = between(AllTypes{});

}  // namespace
}  // namespace minima::ops
