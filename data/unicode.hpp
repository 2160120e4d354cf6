/// What the tokenizer asks about characters.
///
/// The classes are those of the reference tokenizer, a mix of Unicode versions, as observed for
/// every character (unicode_tables.inc, written by make_unicode_tables.py). Decompositions and
/// combining classes come from utf8proc: Unicode never changes them once a character is assigned,
/// so any version of that library gives the same.
#pragma once

#include <string>
#include <string_view>

#include "core/types.hpp"

namespace minima::unicode {

/// Bits of `properties`.
enum Property : u8 {
  removed = 1,       ///< control, format, private use, U+FFFD: dropped from the text
  space = 2,         ///< ends a word
  ideograph = 4,     ///< CJK: a word of its own
  punctuation = 8,   ///< a word of its own
  mark = 16,         ///< nonspacing mark (an accent): stripped when uncased
  decomposing = 32,  ///< changed by canonical decomposition (NFD)
  combining = 64,    ///< may change places with its neighbours in NFD
  uppercase = 128,   ///< changed by lower()
};

/// One byte per code point, 0 … 0x10FFFF.
const u8* properties();

/// The lower-case character of one that is `uppercase`.
char32_t lower(char32_t point);

/// Appends the full canonical decomposition of one that is `decomposing`.
void decompose(char32_t point, std::u32string& out);

/// The canonical combining class of one that is `combining`.
int combining_class(char32_t point);

/// Not for the tokenizer: the text without differences of letter case, of Unicode's normal form and of characters that are
/// not seen (a zero-width space), as the version of utf8proc knows them. Itself where it is not UTF-8.
std::string folded(std::string_view text);
/// The text without the blanks around it.
std::string_view trimmed(std::string_view text);

}  // namespace minima::unicode
