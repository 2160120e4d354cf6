#include "data/word_scanner.hpp"

#include <algorithm>

#include "data/unicode.hpp"
#include "data/utf8.hpp"

namespace minima {
namespace {

/// What a byte means for the fast path.
enum class Kind : u8 { letter, space, punctuation, other };

struct Ascii {
  std::array<Kind, 256> kind;
  std::array<char, 256> lower;
};

const Ascii& ascii() {
  static const Ascii table = [] {
    Ascii result;
    const u8* properties = unicode::properties();
    for (int c = 0; c < 256; ++c) {
      const u8 is = properties[c];
      result.kind[c] = c >= 0x80 || (is & unicode::removed) ? Kind::other
                       : is & unicode::space                ? Kind::space
                       : is & unicode::punctuation          ? Kind::punctuation
                                                            : Kind::letter;
      result.lower[c] = static_cast<char>('A' <= c && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return result;
  }();
  return table;
}

}  // namespace

WordScanner::WordScanner(std::string_view text, Casing casing,
                         std::span<const std::string> special_tokens)
    : text_(text),
      casing_(casing),
      special_tokens_(special_tokens),
      properties_(unicode::properties()) {}

bool WordScanner::next() {
  if (next_found_ < found_.size()) {
    take_found();
    return true;
  }
  const Ascii& table = ascii();
  const auto kind = [&](std::size_t i) { return table.kind[static_cast<u8>(text_[i])]; };
  for (;;) {
    while (at_ < text_.size() && kind(at_) == Kind::space) ++at_;
    if (at_ == text_.size()) return false;

    const std::size_t begin = at_;
    const i32 first = static_cast<i32>(begin - surplus_);
    if (kind(begin) == Kind::punctuation) {
      if (text_[begin] == '[' && take_special_token()) return true;
      ++at_;
      word_ = {.bytes = text_.substr(begin, 1), .whole = {first, first + 1}};
      return true;
    }

    std::size_t length = 0;
    const bool lower = casing_ == Casing::uncased;
    for (; at_ < text_.size() && kind(at_) == Kind::letter; ++at_, ++length)
      if (length < ascii_.size())
        ascii_[length] = lower ? table.lower[static_cast<u8>(text_[at_])] : text_[at_];
    if (at_ == text_.size() || kind(at_) != Kind::other) {
      word_ = {.bytes = {ascii_.data(), std::min(length, ascii_.size())},
               .too_long = length > ascii_.size(),
               .whole = {first, first + static_cast<i32>(length)}};
      return true;
    }
    scan_stretch(begin);
    if (!found_.empty()) {
      take_found();
      return true;
    }
  }
}

bool WordScanner::take_special_token() {
  for (std::size_t i = 0; i < special_tokens_.size(); ++i)
    if (text_.substr(at_).starts_with(special_tokens_[i])) {
      const i32 first = static_cast<i32>(at_ - surplus_);
      const i32 length = static_cast<i32>(special_tokens_[i].size());
      at_ += special_tokens_[i].size();
      word_ = {.special = static_cast<i32>(i), .whole = {first, first + length}};
      return true;
    }
  return false;
}

/// Takes the stretch from `begin` to the next ASCII space or punctuation through all the steps.
void WordScanner::scan_stretch(std::size_t begin) {
  const Ascii& table = ascii();
  const auto inside = [&](std::size_t i) {
    const Kind kind = table.kind[static_cast<u8>(text_[i])];
    return kind == Kind::letter || kind == Kind::other;
  };
  characters_.clear();
  at_ = begin;
  while (at_ < text_.size() && inside(at_)) {
    const CodePoint point = decode_utf8(text_.substr(at_));
    const i32 index = static_cast<i32>(at_ - surplus_);
    clean(point.value, {index, index + 1});
    at_ += static_cast<std::size_t>(point.bytes);
    surplus_ += static_cast<std::size_t>(point.bytes) - 1;
  }
  if (casing_ == Casing::uncased) reorder_marks();
  split();
}

void WordScanner::clean(char32_t point, Span span) {
  const u8 is = properties_[point];
  if (is & unicode::removed) return;
  if (is & unicode::space) {
    characters_.push_back({U' ', span, false});
  } else if (is & unicode::ideograph) {
    characters_.push_back({U' ', span, false});
    decompose(point, span);
    characters_.push_back({U' ', span, false});
  } else {
    decompose(point, span);
  }
}

void WordScanner::decompose(char32_t point, Span span) {
  if (casing_ == Casing::cased || !(properties_[point] & unicode::decomposing)) {
    characters_.push_back({point, span, false});
    return;
  }
  parts_.clear();
  unicode::decompose(point, parts_);
  for (std::size_t i = 0; i < parts_.size(); ++i) characters_.push_back({parts_[i], span, i > 0});
}

/// The canonical ordering of NFD: each run of combining characters sorted by class, stably.
void WordScanner::reorder_marks() {
  const auto combines = [&](std::size_t i) {
    return i < characters_.size() && (properties_[characters_[i].value] & unicode::combining);
  };
  for (std::size_t begin = 0; begin < characters_.size(); ++begin) {
    std::size_t end = begin;
    while (combines(end)) ++end;
    if (end - begin > 1) sort_run(begin, end);
    begin = end;
  }
}

/// Sorts a run. The reference keeps the spans where they are: the k-th character that stood in the
/// text has the k-th span, and one that a decomposition added has that of the character before it.
void WordScanner::sort_run(std::size_t begin, std::size_t end) {
  const auto first = characters_.begin() + static_cast<i64>(begin);
  const auto last = characters_.begin() + static_cast<i64>(end);
  spans_.clear();
  for (auto character = first; character != last; ++character)
    if (!character->added) spans_.push_back(character->span);
  std::stable_sort(first, last, [](const Character& a, const Character& b) {
    return unicode::combining_class(a.value) < unicode::combining_class(b.value);
  });
  std::size_t next = 0;
  for (auto character = first; character != last; ++character) {
    if (!character->added)
      character->span = spans_[next++];
    else if (character != characters_.begin())
      character->span = std::prev(character)->span;
  }
}

void WordScanner::split() {
  normalized_.clear(), spans_.clear(), found_.clear();
  next_found_ = 0;
  bool inside = false;  // a word has begun and may go on
  for (const Character& character : characters_) {
    char32_t point = character.value;
    const u8 is = properties_[point];
    if (casing_ == Casing::uncased) {
      if (is & unicode::mark) continue;
      if (is & unicode::uppercase) point = unicode::lower(point);
    }
    if (is & unicode::space) {
      inside = false;
      continue;
    }
    const bool alone = is & unicode::punctuation;
    if (!inside || alone) found_.push_back({normalized_.size(), spans_.size()});
    inside = !alone;
    append_utf8(normalized_, point);
    spans_.push_back(character.span);
  }
}

void WordScanner::take_found() {
  const Found begin = found_[next_found_++];
  const Found end =
      next_found_ < found_.size() ? found_[next_found_] : Found{normalized_.size(), spans_.size()};
  word_ = {.bytes = std::string_view(normalized_).substr(begin.byte, end.byte - begin.byte),
           .too_long = end.character - begin.character > kMaxWordCharacters,
           .whole = {spans_[begin.character].begin, spans_[end.character - 1].end},
           .spans = &spans_[begin.character]};
}

}  // namespace minima
