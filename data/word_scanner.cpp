#include "data/word_scanner.hpp"

#include <algorithm>
#include <utility>

#include "core/text/utf8.hpp"
#include "data/unicode.hpp"

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
                         const AddedTokens* added, i32 max_word_characters,
                         const AddedTokens* normalized_added)
    : text_(text),
      normalization_(normalization),
      added_(added),
      normalized_added_(normalized_added && !normalized_added->empty() ? normalized_added
                                                                       : nullptr),
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
    // A token of normalized text may begin with a space.
    while (!normalized_added_ && at_ < limit_ && kind(at_) == Kind::space) ++at_;
    if (at_ == limit_) return take_added_token();

    const std::size_t begin = at_;
    if (normalized_added_) {
      scan_stretch(begin, true);
      if (found_.empty()) continue;
      take_found();
      return true;
    }
    const i32 first = static_cast<i32>(begin - surplus_);
    if (kind(begin) == Kind::punctuation) {
      ++at_;
      word_ = {.bytes = text_.substr(begin, 1), .whole = {first, first + 1}};
      return true;
    }

    std::size_t length = 0;
    for (; at_ < limit_ && kind(at_) == Kind::letter; ++at_, ++length)
      if (length < max_word_characters_) ascii_[length] = table.lower[static_cast<u8>(text_[at_])];
    // A longer word takes the full path, which keeps all of it.
    if (length <= max_word_characters_ && (at_ == limit_ || kind(at_) != Kind::other)) {
      word_ = {.bytes = {ascii_.data(), length},
               .whole = {first, first + static_cast<i32>(length)}};
      return true;
    }
    scan_stretch(begin, false);
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
  if (next_added_.id < 0) return false;
  const std::string_view token = next_added_.text;
  const i32 first = static_cast<i32>(at_ - surplus_);
  const std::size_t characters = count_characters(token);
  word_ = {.added = next_added_.id, .whole = {first, first + static_cast<i32>(characters)}};
  at_ += token.size();
  surplus_ += token.size() - characters;
  seek_added_token();
  return true;
}

/// Takes the stretch from `begin` to the next ASCII space or punctuation through all the steps, or
/// all up to the next added token.
void WordScanner::scan_stretch(std::size_t begin, bool all) {
  const Ascii& table = ascii(normalization_);
  const auto inside = [&](std::size_t i) {
    const Kind kind = table.kind[static_cast<u8>(text_[i])];
    return all || kind == Kind::letter || kind == Kind::other;
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
  if (normalized_added_) cut_added_tokens();
}

std::string normalized(std::string_view text, const Normalization& normalization) {
  WordScanner scanner(text, normalization);
  scanner.scan_stretch(0, true);
  return scanner.normalized_;
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
  const auto append = [&](char32_t point, Span span) {
    append_utf8(normalized_, point);
    spans_.push_back(span);
  };
  for (const Character& character : characters_) {
    char32_t point = character.value;
    const u8 is = properties_[point];
    if (normalization_.strip_accents && (is & unicode::mark)) continue;
    if (normalization_.lowercase && (is & unicode::uppercase)) point = unicode::lower(point);
    if (splits(point, is)) {
      inside = false;
      append(point, character.span);
      continue;
    }
    const bool dotted_i = normalization_.lowercase && point == kDottedI;
    const bool alone = is & unicode::punctuation;
    if (!inside || alone) {
      const Place here{normalized_.size(), spans_.size()};
      found_.push_back({here, here});
    }
    inside = !alone;
    append(dotted_i ? U'i' : point, character.span);
    if (dotted_i) append(kDotAbove, character.span);  // the one character that lowers to two
    found_.back().end = {normalized_.size(), spans_.size()};
  }
}

/// Cuts the tokens that are looked for in normalized text out of the words.
void WordScanner::cut_added_tokens() {
  const auto advanced = [&](Place from, std::size_t to) {
    const std::string_view between =
        std::string_view(normalized_).substr(from.byte, to - from.byte);
    return Place{to, from.character + count_characters(between)};
  };
  const std::vector<Found> words = std::exchange(found_, {});
  auto word = words.begin();
  Place behind{0, 0};  // the last token
  /// Takes over what stands between the last token and a place of the words.
  const auto take_words = [&](Place until) {
    for (; word != words.end() && word->begin.byte < until.byte; ++word) {
      Found part = *word;
      if (part.begin.byte < behind.byte) part.begin = behind;
      if (part.end.byte > until.byte) part.end = until;
      if (part.begin.byte < part.end.byte) found_.push_back(part);
      if (word->end.byte > until.byte) break;  // it may go on behind the token
    }
  };
  for (;;) {
    const AddedTokens::Match match = normalized_added_->find(normalized_, behind.byte);
    if (match.id < 0) break;
    const Place begin = advanced(behind, match.at);
    take_words(begin);
    behind = advanced(begin, match.at + match.text.size());
    found_.push_back({begin, behind, match.id});
  }
  take_words({normalized_.size() + 1, spans_.size() + 1});
}

void WordScanner::take_found() {
  const Found& found = found_[next_found_++];
  const auto& [begin, end, added] = found;
  word_ = {.bytes = std::string_view(normalized_).substr(begin.byte, end.byte - begin.byte),
           .added = added,
           .too_long = end.character - begin.character > max_word_characters_,
           .whole = {spans_[begin.character].begin, spans_[end.character - 1].end},
           .spans = &spans_[begin.character]};
}

}  // namespace minima
