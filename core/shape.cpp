#include "core/shape.hpp"

#include <algorithm>

namespace minima {

Shape::Shape(std::span<const i64> sizes) {
  check(sizes.size() <= kMaxRank, "shape: {} dimensions; at most {} are supported", sizes.size(),
        kMaxRank);
  rank_ = static_cast<int>(sizes.size());
  i64 counted = 1;  // without sizes of 0, beside which the others' product is asked for too
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const i64 n = sizes[i];
    check(n >= 0, "shape: dimension {} is {}; sizes must not be negative", i, n);
    check(n == 0 || counted <= (i64{1} << 59) / n, "shape: the number of elements overflows");
    sizes_[i] = n;
    size_ *= n;
    counted *= std::max<i64>(n, 1);
  }
}

i64 Shape::rows() const {
  i64 rows = 1;
  for (int i = 0; i + 1 < rank_; ++i) rows *= sizes_[static_cast<std::size_t>(i)];
  return rows;
}

Shape Shape::with(int axis, i64 size) const {
  std::array<i64, kMaxRank> sizes = sizes_;
  sizes[static_cast<std::size_t>(this->axis(axis))] = size;
  return Shape(std::span(sizes).first(static_cast<std::size_t>(rank_)));
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (i64 n : shape.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

}  // namespace minima
