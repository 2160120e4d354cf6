#include "train/html.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/text/grouped.hpp"
#include "core/text/utf8.hpp"

namespace minima::html {
namespace {

/// Grouped, and with U+2212 for a leading hyphen.
std::string typeset(std::string number) {
  number = grouped(number);
  if (number.starts_with('-')) number.replace(0, 1, "−");
  return number;
}

/// The byte at which character `index` starts.
std::size_t byte_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; at < text.size(); ++at)
    if (begins_character(text[at]) && index-- == 0) break;
  return at;
}

/// `count` characters of a text from the character `from` on, or as many as there are.
std::string characters(std::string_view text, std::size_t from, std::size_t count) {
  text.remove_prefix(byte_of(text, from));
  return std::string(text.substr(0, byte_of(text, count)));
}

/// With how many characters both begin.
std::size_t characters_in_common(std::string_view a, std::string_view b) {
  auto end = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  while (end > 0 && end < a.size() && !begins_character(a[end])) --end;
  return count_characters(a.substr(0, end));
}

/// Of a text of more than `width` characters its beginning and what stands around the character `at`.
std::string shortened_to(std::string_view text, std::size_t width, std::size_t at) {
  const std::size_t head = width / 3, around = width - head - 2, length = count_characters(text);
  const std::size_t from = std::max(at, around / 2) - around / 2;
  if (from <= head + 1) return characters(text, 0, width - 1) + "…";
  if (from + around + 1 >= length)
    return characters(text, 0, head) + "…" + characters(text, length - around - 1, around + 1);
  return characters(text, 0, head) + "…" + characters(text, from, around) + "…";
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // HTML has no form for the other control characters, not even as a reference.
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
          out += "\uFFFD";
        else
          out += c;
    }
  return out;
}

std::string shortened(std::string_view text, std::size_t width) {
  const std::size_t length = count_characters(text);
  if (length <= width) return std::string(text);
  const std::size_t head = (width - 1) / 2, tail = width - 1 - head;
  return characters(text, 0, head) + "…" + characters(text, length - tail, tail);
}

std::vector<std::string> shortened(const std::vector<std::string>& texts, std::size_t width) {
  std::vector<std::string> out;
  for (const std::string& text : texts) out.push_back(shortened(text, width));
  const std::vector<std::string> alike = out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::size_t same = 0;  // characters that it begins with as the nearest of its twins does
    for (std::size_t k = 0; k < texts.size(); ++k)
      if (alike[k] == alike[i] && texts[k] != texts[i])
        same = std::max(same, characters_in_common(texts[i], texts[k]));
    if (same > 0) out[i] = shortened_to(texts[i], width, same);
  }
  // Where they differ in more than one place that may not tell them apart: they are counted.
  std::map<std::string, std::string> meant;  // what a short name stands for
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (int k = 2; meant.try_emplace(out[i], texts[i]).first->second != texts[i]; ++k) {
      const std::string number = fmt::format("…({})", k);
      out[i] = characters(texts[i], 0, width - count_characters(number)) + number;
    }
  return out;
}

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return std::string(kMissing);
  std::string number = fmt::format("{:.{}f}", value, decimals);
  if (number.find_first_of("123456789") == std::string::npos && number.starts_with('-'))
    number.erase(0, 1);
  return typeset(std::move(number));
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return std::string(kMissing);
  if (value == 0) return "0";
  const double magnitude = std::floor(std::log10(std::abs(value)));
  if (magnitude < -4 || magnitude > 12) return typeset(fmt::format("{:.{}g}", value, digits));
  return fixed(value, std::max(0, digits - 1 - static_cast<int>(magnitude)));
}

std::string shortest(double value) {
  if (!std::isfinite(value)) return std::string(kMissing);
  return typeset(fmt::format("{}", value));
}

}  // namespace minima::html
