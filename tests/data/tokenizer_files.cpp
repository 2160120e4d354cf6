#include "data/tokenizer_files.hpp"

#include "core/files/json.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

const std::vector<std::string> kTokens = {
    "[PAD]",  "[UNK]",        "[CLS]", "[SEP]",     "[MASK]", "un",
    "##able", "caf\u00E9",    "cafe",  "CAF\u00C9", "i",      "i\u0307",
    "\u4E2D", "\u4E2D\u6587", "a\x01", "a",         "\"\\"};

std::string pieces(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<Token> found;
  tokenizer.tokenize(text, found);
  std::string result;
  for (const Token& token : found)
    result +=
        fmt::format("{}{}", result.empty() ? "" : " ", tokenizer.vocabulary().token(token.id));
  return result;
}

Normalization with(bool clean, bool chinese, bool strip, bool lower) {
  Normalization n;
  n.clean_text = clean, n.handle_chinese_chars = chinese, n.strip_accents = strip,
  n.lowercase = lower;
  return n;
}

/// "un 0:2, ##able 2:6, ": each token, between `quotes`, and where it stands.
std::string places(const Tokenizer& tokenizer, std::string_view text,
                   std::string_view quotes = "") {
  std::vector<Token> found;
  tokenizer.tokenize(text, found);
  std::string result;
  for (const Token& token : found)
    result += fmt::format("{0}{1}{0} {2}:{3}, ", quotes, tokenizer.vocabulary().token(token.id),
                          token.span.begin, token.span.end);
  return result;
}

}  // namespace

TEST_CASE("each step of the normalization can be left out") {
  const auto cut = [](const Normalization& n, std::string_view text) {
    return pieces(Tokenizer(Vocabulary(kTokens), n), text);
  };
  CHECK(cut(with(true, true, true, true), "CAF\u00C9") == "cafe");
  CHECK(cut(with(true, true, false, true), "CAF\u00C9") == "caf\u00E9");
  CHECK(cut(with(true, true, false, false), "CAF\u00C9") == "CAF\u00C9");
  CHECK(cut(with(true, true, true, false), "caf\u00E9") == "cafe");
  CHECK(cut(with(true, true, false, false), "\u4E2D\u6587") == "\u4E2D [UNK]");
  CHECK(cut(with(true, false, false, false), "\u4E2D\u6587") == "\u4E2D\u6587");
  CHECK(cut(with(true, true, true, true), "a\x01") == "a");
  CHECK(cut(with(false, true, true, true), "a\x01") == "a\x01");
  CHECK(cut(with(false, true, true, true),
            "a\va\u0085"
            "a") == "a a a");
  CHECK(cut(with(true, true, false, true), "\u0130") == "i\u0307");  // lowers to two characters
  CHECK(cut(with(true, true, true, true), "\u0130") == "i");
}

TEST_CASE("a written tokenizer is read again the same, from each of its files") {
  const test::Folder folder;
  VocabularyNames names;
  names.pad = "<pad>", names.unk = "[UNK]", names.continues = "@@";
  std::vector<std::string> tokens = kTokens;
  tokens[0] = "<pad>";
  tokens[6] = "@@able";
  const Tokenizer original(Vocabulary(tokens, "here", names), with(false, true, true, false), 7,
                           {"\"\\"});
  write_tokenizer(folder.path(), original, 128);
  for (const std::string& path : {folder.path(), folder.path() + "/tokenizer.json"}) {
    const Tokenizer again = read_tokenizer(path);
    CHECK(again.vocabulary().tokens() == tokens);
    CHECK(again.normalization() == original.normalization());
    CHECK(again.max_word_characters() == 7);
    CHECK(again.vocabulary().names().continues == "@@");
    CHECK(again.vocabulary().special().pad == 0);
    CHECK(pieces(again, "unable aaaaaaaa un\"\\able") == "un @@able [UNK] un \"\\ [UNK]");
  }
  const Json config = read_json(folder.path() + "/tokenizer_config.json");
  CHECK(config["model_max_length"] == 128);
  CHECK(config["do_lower_case"] == false);
  CHECK(config["strip_accents"] == true);
}

TEST_CASE("a written tokenizer gives out token types only where the model takes them") {
  const test::Folder folder;
  for (const TokenTypes types : {TokenTypes::none, TokenTypes::taken}) {
    write_tokenizer(folder.path(), Tokenizer(Vocabulary(kTokens), Casing::uncased), 9, types);
    Json expected = {"input_ids", "attention_mask"};
    if (types == TokenTypes::taken) expected.push_back("token_type_ids");
    CHECK(read_json(folder.path() + "/tokenizer_config.json")["model_input_names"] == expected);
  }
}

TEST_CASE("a token that holds a line's end is kept, though vocab.txt cannot hold it") {
  const test::Folder folder;
  std::vector<std::string> tokens = kTokens;
  tokens.push_back("a\nb");
  tokens.push_back("z");
  write_tokenizer(folder.path(), Tokenizer(Vocabulary(tokens), Casing::uncased), 9);
  CHECK(read_tokenizer(folder.path()).vocabulary().tokens() == tokens);
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/vocab.txt"));
}

TEST_CASE("a folder's tokenizer_config.json says what becomes of capitals") {
  const test::Folder folder;
  Vocabulary(kTokens).write(folder.path() + "/vocab.txt");
  CHECK(read_tokenizer(folder.path()).normalization() == Normalization(Casing::uncased));
  CHECK(read_tokenizer(folder.path() + "/vocab.txt", Casing::cased).normalization() ==
        Normalization(Casing::cased));
  folder.write("tokenizer_config.json", "{\"do_lower_case\": false}");
  CHECK(read_tokenizer(folder.path()).normalization() == Normalization(Casing::cased));
  folder.write("tokenizer_config.json", "{\"do_lower_case\": true, \"strip_accents\": false}");
  CHECK(read_tokenizer(folder.path()).normalization() == with(true, true, false, true));
  folder.write("tokenizer_config.json", "{\"do_lower_case\": false, \"strip_accents\": null}");
  CHECK(read_tokenizer(folder.path()).normalization() == Normalization(Casing::cased));
  write_tokenizer(folder.path(), Tokenizer(Vocabulary(kTokens), Casing::uncased), 9);
  folder.write("tokenizer_config.json",
               "{\"do_lower_case\": false, \"tokenize_chinese_chars\": false}");
  CHECK(read_tokenizer(folder.path()).normalization() == with(true, false, false, false));
  // tokenizer.json does not count where the configuration is silent: BertTokenizerFast lowers.
  write_tokenizer(folder.path(), Tokenizer(Vocabulary(kTokens), Casing::cased), 9);
  folder.write("tokenizer_config.json", "{}");
  CHECK(read_tokenizer(folder.path()).normalization() == Normalization(Casing::uncased));
  folder.write("tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}");
  CHECK(read_tokenizer(folder.path()).normalization() == Normalization(Casing::cased));
  const std::size_t added = read_tokenizer(folder.path()).added().size();
  folder.write("tokenizer_config.json",
               "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"mask_token\": \"un\", "
               "\"added_tokens_decoder\": {\"0\": {\"content\": \"[PAD]\", \"special\": true}}}");
  const Tokenizer other = read_tokenizer(folder.path());
  CHECK(other.vocabulary().special().mask == other.vocabulary().find("un"));
  CHECK(other.added().size() == added + 1);  // those of tokenizer.json, and the mask
}

TEST_CASE("of added tokens the leftmost counts, and of those at one place the longest") {
  std::vector<std::string> tokens = kTokens;
  tokens.insert(tokens.end(), {"<a>", "<a><b>", "b><b", "\u00AB\u00E9\u00BB"});
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100,
                            {"<a>", "<a><b>", "b><b", "\u00AB\u00E9\u00BB"});
  CHECK(pieces(tokenizer, "i<a><b>i") == "i <a><b> i");
  CHECK(pieces(tokenizer, "<a><a>i") == "<a> <a> i");
  CHECK(pieces(tokenizer, "<b><b>") == "[UNK] b><b [UNK]");
  CHECK(pieces(tokenizer, "\u00E9<a>[MASK]") == "[UNK] <a> [MASK]");
  CHECK(places(tokenizer, "\u00AB\u00E9\u00BBi") == "\u00AB\u00E9\u00BB 0:3, i 3:4, ");
  CHECK_THROWS_AS(Tokenizer(Vocabulary(kTokens), Casing::uncased, 100, {"<none>"}), Error);
  CHECK_THROWS_AS(Tokenizer(Vocabulary(kTokens), Casing::uncased, 0), Error);
}

TEST_CASE("a token that is looked for in normalized text is found whatever its case and accents") {
  std::vector<std::string> tokens = kTokens;
  tokens.insert(tokens.end(), {"<Ent>", "b c", "<", "ent", ">"});
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100,
                            {{"<Ent>", true}, {"b c", true}});
  const auto cut = [&](std::string_view text) { return places(tokenizer, text); };
  CHECK(cut("a<ENT>un") == "a 0:1, <Ent> 1:6, un 6:8, ");
  CHECK(cut("<\u00EAnt>able") == "<Ent> 0:5, [UNK] 5:9, ");  // "able" begins a word
  CHECK(cut("< ent>") == "< 0:1, ent 2:5, > 5:6, ");
  CHECK(cut("unable B C a") == "un 0:2, ##able 2:6, b c 7:10, a 11:12, ");
  CHECK(cut("[MASK]<ent><ent>") == "[MASK] 0:6, <Ent> 6:11, <Ent> 11:16, ");
  CHECK(cut("\u4E2D\u6587 a\x01") == "\u4E2D 0:1, [UNK] 1:2, a 3:4, ");
  const Tokenizer within(Vocabulary(kTokens), Casing::uncased, 100, {{"i", true}});
  CHECK(places(within, "uniaIa") == "un 0:2, i 2:3, a 3:4, i 4:5, a 5:6, ");
}

TEST_CASE("a token that is looked for in normalized text may begin or end with a space") {
  std::vector<std::string> tokens = kTokens;
  tokens.insert(tokens.end(), {" foo", "foo", "bar", "bar "});
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100,
                            {{" foo", true}, {"bar ", true}});
  const auto cut = [&](std::string_view text) { return places(tokenizer, text, "'"); };
  // As Hugging Face's tokenizers 0.23 has it.
  CHECK(cut(" foo bar") == "' foo' 0:4, 'bar' 5:8, ");
  CHECK(cut("  foo bar foo") == "' foo' 1:5, 'bar ' 6:10, 'foo' 10:13, ");
  CHECK(cut("\tFOO[MASK] foo") == "' foo' 0:4, '[MASK]' 4:10, ' foo' 10:14, ");
  CHECK(cut("foo[MASK]foo") == "'foo' 0:3, '[MASK]' 3:9, 'foo' 9:12, ");
  CHECK(cut("\u4E2Dfoo") == "'\u4E2D' 0:1, ' foo' 0:4, ");
  CHECK(cut("   [MASK]   ") == "'[MASK]' 3:9, ");
}

TEST_CASE("thousands of added tokens cost little, of one first byte and of many") {
  std::vector<std::string> tokens = kTokens;
  std::vector<AddedToken> added;
  for (int i = 0; i < 20'000; ++i)
    added.emplace_back(i % 2 ? fmt::format("<extra {}>", i) : fmt::format("{}word", i));
  for (const AddedToken& token : added) tokens.push_back(token.text);
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100, added);
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "<extra 7 1wor 19";
  std::vector<Token> found;
  tokenizer.tokenize("<extra 19999>" + text + "0word", found);
  CHECK(tokenizer.vocabulary().token(found.front().id) == "<extra 19999>");
  CHECK(tokenizer.vocabulary().token(found.back().id) == "190word");
}

TEST_CASE("added tokens of thousands of lengths cost little") {
  std::vector<std::string> tokens = kTokens;
  std::vector<AddedToken> added;
  for (const char* end : {"!", "a", "a<"})
    for (std::size_t i = 1; i <= 2000; ++i) added.emplace_back(std::string(i, '<') + end);
  for (const AddedToken& token : added) tokens.push_back(token.text);
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100, added);
  const std::string longest = std::string(2000, '<') + "a";
  std::vector<Token> found;
  tokenizer.tokenize(std::string(100'000, '<') + longest + ">" + longest + "<", found);
  CHECK(tokenizer.vocabulary().token(found[100'000].id) == longest);
  CHECK(tokenizer.vocabulary().token(found.back().id) == longest + "<");
}

TEST_CASE("added tokens that begin with one another cost little") {
  constexpr std::size_t kMany = 2000;
  std::vector<std::string> tokens = kTokens;
  std::vector<AddedToken> added;
  for (std::size_t i = 1; i <= kMany; ++i) added.emplace_back(std::string(i, '<'));
  for (const AddedToken& token : added) tokens.push_back(token.text);
  const Tokenizer tokenizer(Vocabulary(tokens), Casing::uncased, 100, added);
  std::string text, wanted;
  for (std::size_t i = 1; i <= kMany; ++i) {
    text += std::string(i, '<') + "a";
    wanted += std::string(i, '<') + " a ";
  }
  CHECK(pieces(tokenizer, text) + " " == wanted);
  text.clear();
  for (int i = 0; i < 1'000'000; ++i) text += "<a";
  std::vector<Token> found;
  tokenizer.tokenize(text, found);
  CHECK(found.size() == 2'000'000);
}

TEST_CASE("a folder's files may add very many tokens") {
  constexpr std::size_t kMany = 100'000;
  const test::Folder folder;
  Vocabulary(kTokens).write(folder.path() + "/vocab.txt");
  Json special = Json::array();
  std::string ids;
  for (std::size_t i = 0; i < kMany; ++i) {
    ids += fmt::format("{}\"a{}\":{}", i > 0 ? "," : "", i, kTokens.size() + i);
    special.push_back(fmt::format("s{}", i));
  }
  folder.write("added_tokens.json", "{" + ids + "}");
  folder.write("tokenizer_config.json", Json{{"extra_special_tokens", special}}.dump());
  CHECK(read_tokenizer(folder.path()).added().size() == 2 * kMany + 5);
}

TEST_CASE("a folder's files add tokens, each in its way") {
  const test::Folder folder;
  Vocabulary(kTokens).write(folder.path() + "/vocab.txt");
  const i32 n = static_cast<i32>(kTokens.size());
  const auto id = [&](const char* token) {
    return read_tokenizer(folder.path()).vocabulary().find(token);
  };
  folder.write("added_tokens.json", fmt::format("{{\"<x>\": {}, \"<y>\": {}}}", n, n + 1));
  CHECK(id("<y>") == n + 1);
  CHECK(read_tokenizer(folder.path()).added().back() == AddedToken("<y>", true));
  folder.write("special_tokens_map.json", "{\"extra_special_tokens\": [\"<y>\", \"<z>\"]}");
  CHECK(id("<z>") == n + 2);
  CHECK(pieces(read_tokenizer(folder.path()), "<X><y>") == "<x> <y>");
  CHECK(pieces(read_tokenizer(folder.path()), "<X><Y>") == "<x> [UNK] [UNK] [UNK]");
  // added_tokens_decoder stands for both.
  folder.write("tokenizer_config.json",
               fmt::format("{{\"added_tokens_decoder\": {{\"{}\": {{\"content\": \"<d>\", "
                           "\"normalized\": false}}}}}}",
                           n));
  CHECK(id("<d>") == n);
  CHECK(id("<x>") == -1);
  folder.write("special_tokens_map.json", "{\"cls_token\": \"un\"}");
  CHECK(read_tokenizer(folder.path()).vocabulary().names().cls == "[CLS]");
  // What is added is no piece of a word.
  folder.write(
      "tokenizer_config.json",
      fmt::format("{{\"added_tokens_decoder\": {{\"{}\": {{\"content\": \"<d>\"}}, \"{}\": "
                  "{{\"content\": \"word\", \"normalized\": false}}}}}}",
                  n, n + 1));
  CHECK(pieces(read_tokenizer(folder.path()), "word Word") == "word [UNK]");
  // And what was read is written.
  write_tokenizer(folder.path(), read_tokenizer(folder.path()), 9);
  CHECK(Vocabulary::read(folder.path() + "/vocab.txt").tokens() == kTokens);
  std::filesystem::remove(folder.path() + "/added_tokens.json");
  CHECK(id("<d>") == n);
  CHECK(pieces(read_tokenizer(folder.path()), "word Word") == "word [UNK]");
}

TEST_CASE("a vocabulary without [MASK] tokenizes, and says so to who reads what was written") {
  const test::Folder folder;
  std::vector<std::string> tokens = kTokens;
  tokens.erase(tokens.begin() + 4);
  Vocabulary(tokens).write(folder.path() + "/vocab.txt");
  for (const bool written : {false, true}) {
    CAPTURE(written);
    if (written) write_tokenizer(folder.path(), read_tokenizer(folder.path()), 9);
    const Tokenizer tokenizer = read_tokenizer(folder.path());
    CHECK(tokenizer.vocabulary().special().mask == -1);
    CHECK(tokenizer.vocabulary().size() == std::ssize(tokens));
    CHECK(pieces(tokenizer, "a [MASK]") == "a [UNK] [UNK] [UNK]");
  }
  CHECK(read_json(folder.path() + "/tokenizer_config.json")["mask_token"].is_null());
}

}  // namespace minima
