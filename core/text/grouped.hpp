/// Numbers as they are read: 66,078,048.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "core/types.hpp"

namespace minima {

/// A comma after every third digit left of the point.
inline std::string grouped(std::string_view plain) {
  std::string number(plain);
  const std::size_t first = number.starts_with('-') ? 1 : 0;
  std::size_t end = number.find_first_not_of("0123456789", first);
  if (end == std::string::npos) end = number.size();
  while (end > first + 3) number.insert(end -= 3, 1, ',');
  return number;
}
inline std::string grouped(i64 number) { return grouped(std::to_string(number)); }

/// The number, without a sign where it is none: x86 gives 0/0 and ∞ − ∞ one, and fmt prints "-nan".
inline double without_sign_of_nan(double number) {
  return std::isnan(number) ? std::numeric_limits<double>::quiet_NaN() : number;
}

}  // namespace minima
