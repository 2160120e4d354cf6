/// Shape: the sizes of a tensor's dimensions, at most 8 of them. `{}` is the shape of a scalar and
/// has size 1.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <string>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<i64> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  /// Throws Error for more than 8 dimensions, a negative size, or more than 2^59 elements, whose
  /// bytes an i64 still counts.
  explicit Shape(std::span<const i64> sizes);

  int rank() const { return rank_; }
  i64 size() const { return size_; }  ///< number of elements; 1 for a scalar

  /// The size of dimension i; negative i counts from the end, as in Python.
  i64 operator[](int i) const { return sizes_[static_cast<std::size_t>(axis(i))]; }
  /// i as a non-negative dimension index. Throws Error when there is no such dimension.
  int axis(int i) const {
    check(i >= -rank_ && i < rank_, "shape: {} dimensions have no index {}", rank_, i);
    return i < 0 ? i + rank_ : i;
  }

  const i64* begin() const { return sizes_.data(); }
  const i64* end() const { return sizes_.data() + rank_; }
  std::span<const i64> sizes() const { return {begin(), end()}; }

  /// All but the last dimension multiplied: how many rows the tensor has, seen as a matrix of
  /// [rows, last].
  i64 rows() const;
  /// The shape of x[i]: all but the first dimension. Throws Error for a scalar's.
  Shape inner() const { return Shape(sizes().subspan(static_cast<std::size_t>(axis(0)) + 1)); }
  /// The same with another size of one dimension.
  Shape with(int axis, i64 size) const;

  friend bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a, b); }

 private:
  std::array<i64, kMaxRank> sizes_{};
  int rank_ = 0;
  i64 size_ = 1;
};

std::string to_string(const Shape& shape);  ///< "[32, 128]"

}  // namespace minima

/// No format specifiers; fmt's own parsers of them warn under GCC 12.
template <>
struct fmt::formatter<minima::Shape> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const minima::Shape& shape, Context& context) const {
    return std::ranges::copy(minima::to_string(shape), context.out()).out;
  }
};
