#include "data/tokenizer.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

/// Cuts a pair so that `excess` tokens go: first from the longer one; when both exceed half of what
/// may stay, each keeps half, the odd token going to the longer (to b on a tie).
void cut_longest_first(std::vector<Token>& a, std::vector<Token>& b, std::size_t excess) {
  const std::size_t room = a.size() + b.size() - excess;
  const auto [shorter, longer] = a.size() > b.size() ? std::tie(b, a) : std::tie(a, b);
  const std::size_t kept = std::min(shorter.size(), room / 2);
  shorter.resize(kept);
  longer.resize(room - kept);
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, Normalization normalization, i32 max_word_characters,
                     std::vector<AddedToken> added, SpecialTokens special)
    : vocabulary_(std::move(vocabulary)),
      normalization_(normalization),
      max_word_characters_(max_word_characters),
      added_(std::move(added)) {
  check(max_word_characters >= 1 && max_word_characters <= kMostWordCharacters,
        "tokenizer: at most {} characters a word; 1 to {} can be had", max_word_characters,
        kMostWordCharacters);
  const VocabularyNames& names = vocabulary_.names();
  if (special == SpecialTokens::cut)
    for (const std::string& name : {names.pad, names.unk, names.cls, names.sep, names.mask})
      if (vocabulary_.find(name) >= 0 &&
          std::ranges::find(added_, name, &AddedToken::text) == added_.end())
        added_.emplace_back(name);
  std::ranges::stable_sort(added_, {},
                           [&](const AddedToken& token) { return vocabulary_.find(token.text); });
  std::map<std::string, i32> raw, normal;
  for (const AddedToken& token : added_) {
    const i32 id = vocabulary_.find(token.text);
    check(id >= 0, "tokenizer: the added token '{}' is not in the vocabulary", shown(token.text));
    if (!token.normalized)
      raw.try_emplace(token.text, id);
    else if (const std::string text = normalized(token.text, normalization_); !text.empty())
      normal.try_emplace(text, id);  // of several with one text the first; Hugging Face's takes any
  }
  raw_ = AddedTokens(raw), normalized_ = AddedTokens(normal);
}

void Tokenizer::tokenize(std::string_view text, std::vector<Token>& tokens) const {
  WordScanner words(text, normalization_, &raw_, max_word_characters_, &normalized_);
  while (words.next()) {
    const Word& word = words.word();
    if (word.added >= 0) {
      tokens.push_back({word.added, word.whole});
      continue;
    }
    const std::size_t first_piece = tokens.size();
    bool known = !word.too_long;
    i32 character = 0;
    for (std::size_t at = 0; known && at < word.bytes.size();) {
      const auto [id, bytes] = vocabulary_.longest_match(word.bytes.substr(at), at > 0);
      const std::string_view piece = word.bytes.substr(at, bytes);
      const auto characters = static_cast<i32>(count_characters(piece));
      known = id >= 0;
      if (known) tokens.push_back({id, word.characters(character, character + characters - 1)});
      character += characters;
      at += bytes;
    }
    if (!known) {
      tokens.resize(first_piece);
      tokens.push_back({vocabulary_.special().unk, word.whole});
    }
  }
}

void Tokenizer::encode(std::string_view text_a, std::string_view text_b,
                       const EncodeOptions& options, Encoding& result) const {
  thread_local std::vector<Token> a, b;  // kept from text to text: nothing is allocated
  a.clear(), b.clear();
  tokenize(text_a, a);
  tokenize(text_b, b);
  const std::size_t added = text_b.empty() ? 2 : 3;
  result.cut = false;
  if (options.truncation != Truncation::none) {
    check(options.max_length >= static_cast<i64>(added),
          "encode: a maximum length of {} has no room for the {} special tokens",
          options.max_length, added);
    const std::size_t length = a.size() + b.size() + added;
    const std::size_t limit = static_cast<std::size_t>(options.max_length);
    if (length > limit) {
      result.cut = true;
      const std::size_t excess = length - limit;
      // Where nothing but the special tokens fits, the reference drops both, whatever was asked.
      if (options.truncation == Truncation::longest_first || limit == added) {
        cut_longest_first(a, b, excess);
      } else {
        std::vector<Token>& cut = options.truncation == Truncation::only_first ? a : b;
        check(excess < cut.size(),
              "encode: {} tokens exceed the maximum length of {} by {}, but the text that may be "
              "cut has {}; truncate longest_first",
              length, limit, excess, cut.size());
        cut.resize(cut.size() - excess);
      }
    }
  }

  result.ids.clear(), result.type_ids.clear(), result.attention_mask.clear();
  result.special_tokens_mask.clear(), result.offsets.clear();
  const auto append = [&](const Token& token, i32 type, bool is_added) {
    result.ids.push_back(token.id);
    result.type_ids.push_back(type);
    result.attention_mask.push_back(1);
    result.special_tokens_mask.push_back(is_added);
    result.offsets.push_back(token.span);
  };
  const Vocabulary::SpecialIds& special = vocabulary_.special();
  append({special.cls, {}}, 0, true);
  for (const Token& token : a) append(token, 0, false);
  append({special.sep, {}}, 0, true);
  if (text_b.empty()) return;
  for (const Token& token : b) append(token, 1, false);
  append({special.sep, {}}, 1, true);
}

void Tokenizer::pad(Encoding& encoding, i64 length) const {
  const auto size = static_cast<std::size_t>(std::max(length, encoding.size()));
  encoding.ids.resize(size, vocabulary_.special().pad);
  encoding.type_ids.resize(size, 0);
  encoding.attention_mask.resize(size, 0);
  encoding.special_tokens_mask.resize(size, 1);
  encoding.offsets.resize(size);
}

}  // namespace minima
