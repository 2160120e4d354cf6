/// Text and numbers as HTML shows them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minima::html {

/// What stands for a number that is missing or not finite.
inline constexpr std::string_view kMissing = "–";

/// `text` as content or as a quoted attribute: no character of it is markup.
std::string escaped(std::string_view text);

/// At most `width` characters of UTF-8 text, the middle cut out where there are more: names that
/// differ do so at an end ("adamw:lr=1e-3", "adamw:lr=1e-4").
std::string shortened(std::string_view text, std::size_t width);
/// The same of several: different ones stay different. Where their ends are alike the place is shown where they differ, and
/// where that does not suffice they are counted.
std::vector<std::string> shortened(const std::vector<std::string>& texts, std::size_t width);

/// Numbers, with a true minus sign and a comma between thousands; kMissing unless finite.
std::string fixed(double value, int decimals);          ///< 12,345.68
std::string significant(double value, int digits = 3);  ///< 0.0123, 1.23, 12.3, 1,234, 1.23e-07
std::string shortest(double value);                     ///< digits that read back as `value`

}  // namespace minima::html
