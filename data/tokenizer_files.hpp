/// A tokenizer's files, as Hugging Face's `transformers` and `tokenizers` read and write them.
#pragma once

#include <filesystem>
#include <optional>

#include "data/tokenizer_json.hpp"

namespace minima {

/// Reads what `path` names:
///
///   a folder        as AutoTokenizer does, see below
///   tokenizer.json  (any file whose name ends in .json) see read_tokenizer_json
///   vocab.txt       (any other file), of the casing given, uncased where none is
///
/// Of a folder, tokenizer.json or else vocab.txt gives the tokens. As to BertTokenizerFast, all else
/// is what tokenizer_config.json says, or the usual where it does not: do_lower_case (true),
/// strip_accents (as do_lower_case), tokenize_chinese_chars (true), the names of the special tokens,
/// and added_tokens_decoder; without that, special_tokens_map.json stands over the names, and tokens
/// are added from added_tokens.json and tokenizer.json. A tokenizer_class of PreTrainedTokenizerFast
/// takes tokenizer.json as it is. Two things are otherwise: where a vocabulary has no [MASK], none is
/// added, and where the files contradict one another (versions of `transformers` follow one or the
/// other), that is an error.
///
/// Throws Error, naming file and rule, for a file that is missing, broken, or asks for what the
/// tokenizer does not do, and for a casing where the files say it.
Tokenizer read_tokenizer(const std::filesystem::path& path, std::optional<Casing> casing = {});
/// Whether `path` is a vocab.txt by that rule, which a casing goes with.
bool is_vocabulary(const std::filesystem::path& path);

/// Whether a model takes token types; to DistilBERT, `transformers` must not hand any.
enum class TokenTypes { none, taken };

/// Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json into a folder
/// that exists; `AutoTokenizer.from_pretrained` gives the same tokenizer. `max_length` is what the
/// model can take.
void write_tokenizer(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                     i64 max_length, TokenTypes types = TokenTypes::taken);

}  // namespace minima
