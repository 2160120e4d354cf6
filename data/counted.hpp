/// A number with its noun.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace minima {

/// "1 row", "2 rows".
template <class Number>
std::string counted(Number n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace minima
