// Any bytes as text: ids that exist, spans in order and within the text.
#include "data/tokenizer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

const minima::Tokenizer& tokenizer(minima::Casing casing) {
  const auto make = [](minima::Casing c) {
    std::vector<std::string> tokens(std::begin(minima::Vocabulary::kSpecialTokens),
                                    std::end(minima::Vocabulary::kSpecialTokens));
    for (const char* piece : {"a", "##a", "e", "##e", "un", "##able", "want", "##ed", "1", "[", "]",
                              ",", "\u4E2D", "\u00E9", "##\u0301", "\u00DF", "\u1100", "##\u1161"})
      tokens.emplace_back(piece);
    return minima::Tokenizer(minima::Vocabulary(std::move(tokens)), c);
  };
  static const minima::Tokenizer cased = make(minima::Casing::cased),
                                 uncased = make(minima::Casing::uncased);
  return casing == minima::Casing::cased ? cased : uncased;
}

}  // namespace

void minima::fuzz(std::string_view input) {
  i32 characters = 0;
  for (std::string_view rest = input; !rest.empty(); ++characters)
    rest.remove_prefix(static_cast<std::size_t>(decode_utf8(rest).bytes));
  for (const Casing casing : {Casing::cased, Casing::uncased}) {
    std::vector<Token> tokens;
    tokenizer(casing).tokenize(input, tokens);
    Span last;
    for (const Token& token : tokens) {
      tokenizer(casing).vocabulary().token(token.id);
      require(token.span.begin >= last.begin && token.span.end > token.span.begin,
              "spans in order");
      require(token.span.end <= characters, "spans within the text");
      last = token.span;
    }
  }
}
