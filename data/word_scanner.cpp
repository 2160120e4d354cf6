#include "data/word_scanner.hpp"

#include <algorithm>

#include "data/unicode.hpp"
#include "data/utf8.hpp"

namespace minima {
namespace {

constexpr char32_t kDottedI = 0x130, kDotAbove = 0x307;

/// What a byte means for the fast path.
enum class Kind : u8 { letter, space, punctuation, other };

struct Ascii {
  std::array<Kind, 256> kind;
  std::array<char, 256> lower;
};

/// White space to the splitter: what cleaning makes a space, and what it would have removed.
bool splits(char32_t point, u8 properties) {
  return (properties & unicode::space) || (point >= 0x9 && point <= 0xD) || point == 0x85;
}

Ascii make_ascii(bool clean_text, bool lowercase) {
  Ascii result;
  for (int c = 0; c < 256; ++c) {
    const u8 is = unicode::properties()[c];
    result.kind[c] = c >= 0x80 || (clean_text && (is & unicode::removed)) ? Kind::other
                     : splits(static_cast<char32_t>(c), is)               ? Kind::space
                     : is & unicode::punctuation                          ? Kind::punctuation
                                                                          : Kind::letter;
    result.lower[c] = static_cast<char>(lowercase && 'A' <= c && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return result;
}

const Ascii& ascii(const Normalization& n) {
  static const Ascii tables[2][2] = {{make_ascii(false, false), make_ascii(false, true)},
                                     {make_ascii(true, false), make_ascii(true, true)}};
  return tables[n.clean_text][n.lowercase];
}

}  // namespace

WordScanner::WordScanner(std::string_view text, Normalization normalization,
                         const AddedTokens* added, i32 max_word_characters)
    : text_(text),
      normalization_(normalization),
      added_(added),
      max_word_characters_(static_cast<std::size_t>(max_word_characters)),
      properties_(unicode::properties()) {
  seek_added_token();
}

bool WordScanner::next() {
  if (next_found_ < found_.size()) {
    take_found();
    return true;
  }
  const Ascii& table = ascii(normalization_);
  const auto kind = [&](std::size_t i) { return table.kind[static_cast<u8>(text_[i])]; };
  for (;;) {
    while (at_ < limit_ && kind(at_) == Kind::space) ++at_;
    if (at_ == limit_) return take_added_token();

    const std::size_t begin = at_;
    const i32 first = static_cast<i32>(begin - surplus_);
    if (kind(begin) == Kind::punctuation) {
      ++at_;
      word_ = {.bytes = text_.substr(begin, 1), .whole = {first, first + 1}};
      return true;
    }

    std::size_t length = 0;
    for (; at_ < limit_ && kind(at_) == Kind::letter; ++at_, ++length)
      if (length < max_word_characters_) ascii_[length] = table.lower[static_cast<u8>(text_[at_])];
    if (at_ == limit_ || kind(at_) != Kind::other) {
      word_ = {.bytes = {ascii_.data(), std::min(length, max_word_characters_)},
               .too_long = length > max_word_characters_,
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

void WordScanner::seek_added_token() {
  next_added_ = added_ ? added_->find(text_, at_) : AddedTokens::Match{};
  limit_ = std::min(next_added_.at, text_.size());
}

bool WordScanner::take_added_token() {
  if (!next_added_.token) return false;
  const std::string& token = next_added_.token->text;
  const i32 first = static_cast<i32>(at_ - surplus_);
  const auto characters =
      std::ranges::count_if(token, [](char byte) { return (byte & 0xC0) != 0x80; });
  word_ = {.added = next_added_.token->id, .whole = {first, first + static_cast<i32>(characters)}};
  at_ += token.size();
  surplus_ += token.size() - static_cast<std::size_t>(characters);
  seek_added_token();
  return true;
}

/// Takes the stretch from `begin` to the next ASCII space or punctuation through all the steps.
void WordScanner::scan_stretch(std::size_t begin) {
  const Ascii& table = ascii(normalization_);
  const auto inside = [&](std::size_t i) {
    const Kind kind = table.kind[static_cast<u8>(text_[i])];
    return kind == Kind::letter || kind == Kind::other;
  };
  characters_.clear();
  at_ = begin;
  while (at_ < limit_ && inside(at_)) {
    const CodePoint point = decode_utf8(text_.substr(at_, limit_ - at_));
    const i32 index = static_cast<i32>(at_ - surplus_);
    clean(point.value, {index, index + 1});
    at_ += static_cast<std::size_t>(point.bytes);
    surplus_ += static_cast<std::size_t>(point.bytes) - 1;
  }
  if (normalization_.strip_accents) reorder_marks();
  split();
}

void WordScanner::clean(char32_t point, Span span) {
  const u8 is = properties_[point];
  if (normalization_.clean_text && (is & unicode::removed)) return;
  if (normalization_.clean_text && (is & unicode::space)) {
    characters_.push_back({U' ', span, false});
  } else if (normalization_.handle_chinese_chars && (is & unicode::ideograph)) {
    characters_.push_back({U' ', span, false});
    decompose(point, span);
    characters_.push_back({U' ', span, false});
  } else {
    decompose(point, span);
  }
}

void WordScanner::decompose(char32_t point, Span span) {
  if (!normalization_.strip_accents || !(properties_[point] & unicode::decomposing)) {
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
    if (normalization_.strip_accents && (is & unicode::mark)) continue;
    if (normalization_.lowercase && (is & unicode::uppercase)) point = unicode::lower(point);
    const bool dotted_i = normalization_.lowercase && point == kDottedI;
    if (dotted_i) point = U'i';
    if (splits(point, is)) {
      inside = false;
      continue;
    }
    const bool alone = is & unicode::punctuation;
    if (!inside || alone) found_.push_back({normalized_.size(), spans_.size()});
    inside = !alone;
    append_utf8(normalized_, point);
    spans_.push_back(character.span);
    if (dotted_i) {  // the one character that lowers to two
      append_utf8(normalized_, kDotAbove);
      spans_.push_back(character.span);
    }
  }
}

void WordScanner::take_found() {
  const Found begin = found_[next_found_++];
  const Found end =
      next_found_ < found_.size() ? found_[next_found_] : Found{normalized_.size(), spans_.size()};
  word_ = {.bytes = std::string_view(normalized_).substr(begin.byte, end.byte - begin.byte),
           .too_long = end.character - begin.character > max_word_characters_,
           .whole = {spans_[begin.character].begin, spans_[end.character - 1].end},
           .spans = &spans_[begin.character]};
}

}  // namespace minima
