/// Tokenizer: text → ids of WordPiece, as BERT and DistilBERT take them.
///
/// Each word (word_scanner.hpp) is cut greedily into the longest pieces of the vocabulary; a word
/// with a part that matches nothing, or of more than 100 characters, is one [UNK]. Ids, pieces and
/// offsets are those of `BertTokenizerFast`.
///
///     Tokenizer tokenizer(Vocabulary::read("vocab.txt"), Casing::uncased);   // tokenizer_files.hpp
///     Encoding one = tokenizer.encode("how are you", {.max_length = 128});
#pragma once

#include <string_view>
#include <vector>

#include "data/vocabulary.hpp"
#include "data/word_scanner.hpp"

namespace minima {

struct Token {
  i32 id;
  Span span;  ///< in code points of the text; [0, 0) for what the tokenizer adds
};

/// How a text or a pair is made to fit `max_length`.
enum class Truncation {
  none,           ///< it may be longer
  longest_first,  ///< tokens are taken from the longer of the two
  only_first,     ///< from the first alone; Error when that would leave nothing of it
  only_second,
};

struct EncodeOptions {
  i64 max_length = 512;  ///< [CLS] and [SEP] counted
  Truncation truncation = Truncation::longest_first;
};

/// [CLS] a [SEP], or [CLS] a [SEP] b [SEP]. All lists are equally long.
struct Encoding {
  std::vector<i32> ids;
  std::vector<i32> type_ids;             ///< 1 for b and its [SEP]
  std::vector<i32> attention_mask;       ///< 0 for padding
  std::vector<i32> special_tokens_mask;  ///< 1 for what the tokenizer added, padding included
  std::vector<Span> offsets;             ///< in a for its tokens, in b for its
  bool cut = false;                      ///< there were more tokens than `max_length`

  i64 size() const { return static_cast<i64>(ids.size()); }
};

/// What becomes of "[MASK]" and its like in a text: the special token, or what its letters are.
enum class SpecialTokens { cut, as_text };

class Tokenizer {
 public:
  /// The `added` tokens, which the vocabulary has too, are cut out of a text, and so are its special
  /// ones unless these are to be text. `max_word_characters` is at most kMostWordCharacters.
  Tokenizer(Vocabulary vocabulary, Normalization normalization,
            i32 max_word_characters = kMaxWordCharacters, std::vector<AddedToken> added = {},
            SpecialTokens special = SpecialTokens::cut);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const Normalization& normalization() const { return normalization_; }
  i32 max_word_characters() const { return max_word_characters_; }
  /// All that are cut out, in the order of their ids.
  const std::vector<AddedToken>& added() const { return added_; }

  /// Appends the tokens of `text`, without [CLS] and [SEP].
  void tokenize(std::string_view text, std::vector<Token>& tokens) const;

  /// A text, or a pair (an empty `b` counts as none). Throws Error when `max_length` has no room
  /// for the special tokens, or as `truncation` says.
  Encoding encode(std::string_view a, const EncodeOptions& options = {}) const {
    return encode(a, {}, options);
  }
  Encoding encode(std::string_view a, std::string_view b, const EncodeOptions& options = {}) const {
    Encoding result;
    encode(a, b, options, result);
    return result;
  }
  /// The same into an Encoding that may have held another, whose memory is used again.
  void encode(std::string_view a, std::string_view b, const EncodeOptions& options,
              Encoding& result) const;

  /// Appends [PAD] up to `length`; what is longer stays as it is.
  void pad(Encoding& encoding, i64 length) const;

 private:
  Vocabulary vocabulary_;
  Normalization normalization_;
  i32 max_word_characters_;
  std::vector<AddedToken> added_;
  AddedTokens raw_, normalized_;  // of them
};

}  // namespace minima
