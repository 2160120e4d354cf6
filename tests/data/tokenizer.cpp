#include "data/tokenizer.hpp"

#include "core/text/utf8.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

Vocabulary vocabulary(std::vector<std::string> pieces) {
  std::vector<std::string> tokens(std::begin(Vocabulary::kSpecialTokens),
                                  std::end(Vocabulary::kSpecialTokens));
  tokens.insert(tokens.end(), pieces.begin(), pieces.end());
  return Vocabulary(std::move(tokens));
}

const Tokenizer& uncased() {
  static const Tokenizer tokenizer(
      vocabulary({"un", "##want", "##wa", "##ed", "##e", "runn", "##ing", ",", "[", "]", "mask",
                  "\u4E2D", "caf", "cafe", "##\u00DF", "a", "##a", "i", "\U0001D157"}),
      Casing::uncased);
  return tokenizer;
}

/// Pieces and spans, as in "un[0,2) ##want[2,6)".
std::string tokens(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<Token> found;
  tokenizer.tokenize(text, found);
  std::string result;
  for (const Token& token : found)
    result += fmt::format("{}{}[{},{})", result.empty() ? "" : " ",
                          tokenizer.vocabulary().token(token.id), token.span.begin, token.span.end);
  return result;
}

}  // namespace

TEST_CASE("a word is cut greedily into the longest pieces") {
  CHECK(tokens(uncased(), "UNwanted, running") ==
        "un[0,2) ##want[2,6) ##ed[6,8) ,[8,9) runn[10,14) ##ing[14,17)");
  CHECK(tokens(uncased(), "unwae") == "un[0,2) ##wa[2,4) ##e[4,5)");
}

TEST_CASE("a word with an unmatched piece is one [UNK] with the word's span") {
  CHECK(tokens(uncased(), "a unwantedly a") == "a[0,1) [UNK][2,12) a[13,14)");
}

TEST_CASE("special tokens are cut out of the raw text, exactly as written") {
  CHECK(tokens(uncased(), "un[MASK]a") == "un[0,2) [MASK][2,8) a[8,9)");
  CHECK(tokens(uncased(), "[mask]") == "[[0,1) mask[1,5) ][5,6)");
  CHECK(tokens(uncased(), "\u00E9[SEP]") == "[UNK][0,1) [SEP][1,6)");
}

TEST_CASE("offsets count code points of the original text") {
  CHECK(tokens(uncased(), "\u4E2D\u4E2D a") == "\u4E2D[0,1) \u4E2D[1,2) a[3,4)");
  CHECK(tokens(uncased(), "CAF\u00C9 a") == "cafe[0,4) a[5,6)");
  CHECK(tokens(uncased(), "cafe\u0301 a") ==
        "cafe[0,4) a[6,7)");  // the stripped mark stays outside
  CHECK(tokens(uncased(), "a\u200Da a") == "a[0,1) ##a[2,3) a[4,5)");
  CHECK(tokens(uncased(), "caf\u00DF") == "caf[0,3) ##\u00DF[3,4)");
}

TEST_CASE("marks that normalization reorders leave the spans where they were") {
  // U+1D165 (class 216) and U+1E94A (class 7) change places, their spans do not.
  CHECK(tokens(uncased(), "\U0001D165\U0001E94A") == "[UNK][0,2)");
  // U+1D15E is U+1D157 U+1D165: the added one goes behind and takes the span before it.
  CHECK(tokens(uncased(), "a \U0001D15E\U0001E94A a") == "a[0,1) [UNK][2,4) a[5,6)");
}

TEST_CASE("a word of 100 characters is cut, one of 101 is unknown") {
  const std::string hundred(100, 'a');
  std::vector<Token> found;
  uncased().tokenize(hundred, found);
  CHECK(found.size() == 100);
  CHECK(tokens(uncased(), hundred + "a i") == "[UNK][0,101) i[102,103)");
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "\u00E1";
  found.clear();
  uncased().tokenize(accented, found);
  CHECK(found.size() == 100);
  CHECK(tokens(uncased(), accented + "\u00E1") == "[UNK][0,101)");
}

TEST_CASE("bytes that are not UTF-8 are dropped, one code point for each maximal part") {
  CHECK(tokens(uncased(),
               "a\xFF"
               "a i") == "a[0,1) ##a[2,3) i[4,5)");
  CHECK(tokens(uncased(), "a\xE2\x82 i") == "a[0,1) i[3,4)");      // a cut-off three-byte form
  CHECK(tokens(uncased(), "a\xED\xA0\x80 i") == "a[0,1) i[5,6)");  // a surrogate: three parts
  CHECK(tokens(uncased(), "a\xF0\x9F\x98") == "a[0,1)");
  CHECK(tokens(uncased(), std::string("a\0a", 3)) == "a[0,1) ##a[2,3)");
}

TEST_CASE("the first byte that is not UTF-8 is found") {
  CHECK(find_invalid_utf8("caf\u00E9 \u4E2D \U0001F600") == std::string::npos);
  CHECK(find_invalid_utf8("caf\xE9") == 3);
  CHECK(find_invalid_utf8("\xC0\x80") == 0);           // overlong
  CHECK(find_invalid_utf8("a\xF4\x90\x80\x80") == 1);  // above U+10FFFF
}

TEST_CASE("a pair that cannot be cut as asked is refused with the way out") {
  const auto message = test::error_of([] {
    uncased().encode("a a", "i i i i", {.max_length = 6, .truncation = Truncation::only_first});
  });
  CHECK(test::contains(message, "longest_first"));
  CHECK_THROWS_AS(
      uncased().encode("a a", "i i i i", {.max_length = 7, .truncation = Truncation::only_first}),
      Error);  // nothing would be left of it
  CHECK(uncased()
            .encode("a a", "i i i i", {.max_length = 8, .truncation = Truncation::only_first})
            .size() == 8);
  CHECK(
      test::contains(test::error_of([] { uncased().encode("a", {.max_length = 1}); }), "no room"));
}

TEST_CASE("a vocabulary survives writing and reading") {
  const test::Folder folder;
  const Vocabulary& original = uncased().vocabulary();
  original.write(folder.path() + "/vocab.txt");
  CHECK(Vocabulary::read(folder.path() + "/vocab.txt").tokens() == original.tokens());
}

TEST_CASE("tokens that are no vocabulary are refused by their ids") {
  const auto error = [&](const std::vector<std::string>& more) {
    std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    tokens.insert(tokens.end(), more.begin(), more.end());
    const std::string message = test::error_of([&] { Vocabulary(tokens, "here"); });
    CHECK(test::contains(message, "here: "));
    return message;
  };
  CHECK(test::contains(error({"a", "b", "a"}), "'a' is both token 5 and token 7"));
  CHECK(test::contains(error({"a", ""}), "token 6 is empty"));
  CHECK(test::contains(error({"\xFF"}), "token 5 is not valid UTF-8"));
  CHECK_THROWS_AS(Vocabulary::read("/none.txt"), Error);
  CHECK_THROWS_AS(uncased().vocabulary().token(1000), Error);
}

}  // namespace minima
