/// tokenizer.json, the file of the `tokenizers` library: a WordPiece model and all that is around it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.hpp"

namespace minima {

class Section;

/// What such a file says.
struct TokenizerJson {
  std::vector<std::string> tokens;  ///< the model's, by id
  std::map<i64, AddedToken> added;  ///< by id; they may be the model's too
  VocabularyNames names{};
  i64 cls = -1, sep = -1;  ///< their ids by the post-processor; −1: it is not asked
  Normalization normalization{};
  i32 max_word_characters = kMaxWordCharacters;
};

/// Reads a file whose model is WordPiece, after BertNormalizer (all its options) and
/// BertPreTokenizer, with [CLS] a [SEP] b [SEP] around (BertProcessing, or a template that says the
/// same). Truncation and padding are up to the caller, as in `transformers`, and the decoder is not
/// needed. Throws Error, naming `source` and what it is, for whatever else stands in it.
TokenizerJson read_tokenizer_json(std::string_view text, const std::string& source);

/// The tokenizer that it describes. Added tokens go behind the model's, and what of `more` is not
/// there goes behind them; [MASK] and its like are text where they are in neither. Throws Error,
/// naming `source`, where the parts do not fit.
Tokenizer make_tokenizer(TokenizerJson parts, const std::string& source,
                         const std::vector<AddedToken>& more = {});
Tokenizer parse_tokenizer_json(std::string_view text, const std::string& source);

/// The file of a tokenizer.
std::string tokenizer_json(const Tokenizer& tokenizer);

/// A token described by an object: "content", "normalized" (where it is not said, as `special` is
/// not). Throws Error for one that takes white space or whole words only.
AddedToken read_added_token(const Section& section, bool special);

}  // namespace minima
