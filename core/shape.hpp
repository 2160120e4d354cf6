/// Shape: the sizes of a tensor's dimensions, at most 8 of them. `{}` is the shape of a scalar and
/// has size 1.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<i64> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  /// Throws Error for more than 8 dimensions, a negative size, or a number of elements beyond 2^62.
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

  friend bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a, b); }

 private:
  std::array<i64, kMaxRank> sizes_{};
  int rank_ = 0;
  i64 size_ = 1;
};

inline Shape::Shape(std::span<const i64> sizes) {
  check(sizes.size() <= kMaxRank, "shape: {} dimensions; at most {} are supported", sizes.size(),
        kMaxRank);
  rank_ = static_cast<int>(sizes.size());
  for (int i = 0; i < rank_; ++i) {
    const i64 n = sizes[static_cast<std::size_t>(i)];
    check(n >= 0, "shape: dimension {} is {}; sizes must not be negative", i, n);
    check(n == 0 || size_ <= (i64{1} << 62) / n, "shape: the number of elements overflows");
    sizes_[static_cast<std::size_t>(i)] = n;
    size_ *= n;
  }
}

inline i64 Shape::rows() const {
  i64 rows = 1;
  for (int i = 0; i + 1 < rank_; ++i) rows *= sizes_[static_cast<std::size_t>(i)];
  return rows;
}

}  // namespace minima

template <>
struct fmt::formatter<minima::Shape> : fmt::formatter<fmt::string_view> {
  template <class Context>
  auto format(const minima::Shape& shape, Context& context) const {
    return fmt::format_to(context.out(), "[{}]", fmt::join(shape.begin(), shape.end(), ", "));
  }
};
