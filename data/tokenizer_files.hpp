/// A tokenizer's files, as Hugging Face's `transformers` and `tokenizers` read and write them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizer.hpp"

namespace minima {

/// Reads what `path` names:
///
///   a folder        its tokenizer.json, else its vocab.txt; do_lower_case, strip_accents and
///                   tokenize_chinese_chars of its tokenizer_config.json stand over both
///   tokenizer.json  (any file whose name ends in .json) see parse_tokenizer_json
///   vocab.txt       (any other file)
///
/// `casing` is that of a vocab.txt beside which no file tells it; uncased where none is given.
/// Throws Error, naming file and rule, for a file that is missing, broken, or asks for what the
/// tokenizer does not do.
Tokenizer read_tokenizer(const std::filesystem::path& path, std::optional<Casing> casing = {});

/// A tokenizer.json whose model is WordPiece, after BertNormalizer (all its options) and
/// BertPreTokenizer, with [CLS] a [SEP] b [SEP] around (BertProcessing, or a template that says the
/// same). Truncation and padding are up to the caller, as in `transformers`, and the decoder is not
/// needed. Whatever else stands in it is refused by name.
Tokenizer parse_tokenizer_json(std::string_view text, const std::string& source);

/// Whether a model takes token types; to DistilBERT, `transformers` must not hand any.
enum class TokenTypes { none, taken };

/// Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json into a folder
/// that exists; `AutoTokenizer.from_pretrained` gives the same tokenizer. `max_length` is what the
/// model can take.
void write_tokenizer(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                     i64 max_length, TokenTypes types = TokenTypes::taken);

}  // namespace minima
