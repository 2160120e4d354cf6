/// Labels and columns that are numbers.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

#include "core/types.hpp"

namespace minima {

/// The number that the whole text is, in decimal digits; nothing where it is no number.
inline std::optional<i64> whole_number(std::string_view text) {
  i64 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace minima
