/// UTF-8: decoding one code point at a time, where a text is not valid, characters in bytes, and text for messages.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace minima {

struct CodePoint {
  char32_t value;  ///< U+FFFD where the bytes are ill-formed
  int bytes;       ///< how many it took
  bool valid;
};

/// The first code point of `text`, which must not be empty. An ill-formed sequence is replaced by
/// one U+FFFD for each maximal part that could have begun a valid one (The Unicode Standard, 3.9,
/// "U+FFFD substitution of maximal subparts"), as browsers and Python do.
inline CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<u8>(text[i]); };
  const u8 lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {0xFFFD, 1, false};
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte has a narrower range after four leads: no overlong forms, no surrogates,
  // nothing above U+10FFFF.
  u8 low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  u8 high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t value = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if (static_cast<std::size_t>(i) == text.size() || byte(i) < low || byte(i) > high)
      return {0xFFFD, i, false};
    value = value << 6 | (byte(i) & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {value, length, true};
}

inline void append_utf8(std::string& text, char32_t point) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) {
    text += static_cast<char>(point);
  } else if (point < 0x800) {
    text += static_cast<char>(0xC0 | point >> 6), tail(0);
  } else if (point < 0x10000) {
    text += static_cast<char>(0xE0 | point >> 12), tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | point >> 18), tail(12), tail(6), tail(0);
  }
}

/// The position of the first byte that is not valid UTF-8, or npos.
inline std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (u64 eight; at + sizeof(eight) <= text.size()) {  // of ASCII, eight bytes at once
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const CodePoint point = decode_utf8(text.substr(at));
    if (!point.valid) return at;
    at += static_cast<std::size_t>(point.bytes);
  }
  return std::string_view::npos;
}

/// Whether a byte of valid UTF-8 begins a character.
inline bool begins_character(char byte) { return (static_cast<u8>(byte) & 0xC0) != 0x80; }

inline std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, begins_character));
}

/// How many columns a text takes in a terminal, as fmt counts them where it pads, a wide character two; but an accent that
/// stands over the character before it (U+0300 to U+036F) none.
inline std::size_t columns_of(std::string_view text) {
  const std::size_t enough = 2 * text.size();
  std::size_t columns = enough + text.size() - fmt::formatted_size("{:{}}", text, enough);
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    columns -= point.value >= 0x300 && point.value < 0x370;
    text.remove_prefix(static_cast<std::size_t>(point.bytes));
  }
  return columns;
}

/// As much of the text's beginning as fits into so many bytes without a character cut in two.
inline std::string_view cut_to_bytes(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && !begins_character(text[most])) --most;
  return text.substr(0, most);
}

/// Whether a terminal obeys a character rather than show it: control characters (C0, DEL, C1), and
/// what turns the direction of the text around it.
inline bool steers_a_terminal(char32_t point) {
  return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x061C || point == 0x200E ||
         point == 0x200F || (point >= 0x202A && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069);
}

/// Appends a character, or how it is written where a terminal would obey it, "\x1b", "\u202e"; a tab
/// stays.
inline void append_visible(std::string& text, char32_t point) {
  if (point == '\t' || !steers_a_terminal(point))
    append_utf8(text, point);
  else if (point < 0x100)
    text += fmt::format("\\x{:02x}", static_cast<u32>(point));
  else
    text += fmt::format("\\u{:04x}", static_cast<u32>(point));
}

/// A text of several lines for a terminal: all of it is shown, nothing obeyed. What is not UTF-8
/// becomes U+FFFD.
inline std::string visible(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    if (point.value == '\n')
      result += '\n';
    else
      append_visible(result, point.value);
    text.remove_prefix(static_cast<std::size_t>(point.bytes));
  }
  return result;
}

/// The same for a message: on one line, at most about `most` bytes of it, cut between characters.
inline std::string shown(std::string_view text, std::size_t most = 120) {
  std::string result;
  while (!text.empty() && result.size() < most) {
    const CodePoint point = decode_utf8(text);
    if (point.value == '\n')
      result += "\\n";
    else if (point.value == '\r')
      result += "\\r";
    else
      append_visible(result, point.value);
    text.remove_prefix(static_cast<std::size_t>(point.bytes));
  }
  if (!text.empty()) result += "\u2026";
  return result;
}

/// The first few, and how many more there are: "a, b and 3 more".
inline std::string listed(const std::vector<std::string>& items, std::size_t most = 8) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(items.size(), most));
  std::string text = fmt::format("{}", fmt::join(items.begin(), items.begin() + count, ", "));
  if (items.size() > most) text += fmt::format(" and {} more", items.size() - most);
  return shown(text, text.npos);
}

}  // namespace minima
