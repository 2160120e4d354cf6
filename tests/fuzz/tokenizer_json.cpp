// tokenizer.json: what is accepted tokenizes with the ids that it gives.
#include "data/tokenizer_json.hpp"

#include "tests/fuzz/fuzz.hpp"

void minima::fuzz(std::string_view input) {
  const Tokenizer tokenizer = parse_tokenizer_json(input, "tokenizer.json");
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  for (const std::string& token : vocabulary.tokens())
    require(vocabulary.token(vocabulary.find(token)) == token, "a token has its id");
  const Encoding encoding = tokenizer.encode("Caf\u00E9 [MASK] unwantedly\x01 \u4E2D\u0130 a", "b",
                                             {.truncation = Truncation::none});
  for (const i32 id : encoding.ids) vocabulary.token(id);
  require(encoding.ids.front() == vocabulary.special().cls, "it begins with [CLS]");
}
