#include "data/unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <vector>

#include "core/text/utf8.hpp"

namespace minima::unicode {
namespace {

struct Range {
  char32_t first, last;
};
/// Every step-th character from first to last is lowered by adding distance.
struct LowerRun {
  char32_t first, last;
  int step, distance;
};

#include "data/unicode_tables.inc"

std::vector<u8> make_properties() {
  std::vector<u8> table(0x110000);
  const auto set = [&](Property property, const auto& ranges) {
    for (const Range& range : ranges)
      for (char32_t point = range.first; point <= range.last; ++point) table[point] |= property;
  };
  set(removed, kRemoved);
  set(space, kSpace);
  set(ideograph, kIdeograph);
  set(punctuation, kPunctuation);
  set(mark, kMark);
  set(decomposing, kDecomposing);
  set(combining, kCombining);
  for (const LowerRun& run : kLower)
    for (char32_t point = run.first; point <= run.last; point += run.step)
      table[point] |= uppercase;
  return table;
}

}  // namespace

const u8* properties() {
  static const std::vector<u8> table = make_properties();
  return table.data();
}

char32_t lower(char32_t point) {
  const LowerRun* run =
      std::ranges::upper_bound(kLower, point, {}, [](const LowerRun& r) { return r.first; }) - 1;
  return point + static_cast<char32_t>(run->distance);
}

void decompose(char32_t point, std::u32string& out) {
  utf8proc_int32_t parts[8];  // the longest has four
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(point), parts, std::ssize(parts), UTF8PROC_DECOMPOSE, nullptr);
  out.append(parts, parts + count);
}

int combining_class(char32_t point) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(point))->combining_class;
}

std::string folded(std::string_view text) {
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE |
                                                          UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             std::ssize(text), &mapped, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) return std::string(text);
  return {reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size)};
}

std::string_view trimmed(std::string_view text) {
  std::size_t first = std::string_view::npos, last = 0, at = 0;  // of what is no blank
  while (at < text.size()) {
    const auto [point, bytes, valid] = decode_utf8(text.substr(at));
    const std::size_t end = at + static_cast<std::size_t>(bytes);
    if (!(properties()[point] & space)) {
      first = std::min(first, at);
      last = end;
    }
    at = end;
  }
  return last == 0 ? "" : text.substr(first, last - first);
}

}  // namespace minima::unicode
