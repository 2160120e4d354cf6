#include "data/tokenizer_json.hpp"

#include <tuple>
#include <unordered_set>

#include "core/files/json.hpp"
#include "data/json_section.hpp"

namespace minima {
namespace {

/// The parts of a template for a post-processor, in the file's notation.
template <class AnyJson>
AnyJson special_token(const std::string& name, int type) {
  return {{"SpecialToken", {{"id", name}, {"type_id", type}}}};
}
template <class AnyJson>
AnyJson sequence(const char* name, int type) {
  return {{"Sequence", {{"id", name}, {"type_id", type}}}};
}
template <class AnyJson>
AnyJson single_template(const VocabularyNames& names) {
  return AnyJson::array({special_token<AnyJson>(names.cls, 0), sequence<AnyJson>("A", 0),
                         special_token<AnyJson>(names.sep, 0)});
}
template <class AnyJson>
AnyJson pair_template(const VocabularyNames& names) {
  AnyJson all = single_template<AnyJson>(names);
  all.push_back(sequence<AnyJson>("B", 1));
  all.push_back(special_token<AnyJson>(names.sep, 1));
  return all;
}

Normalization read_normalizer(const SortedJson& json, const std::string& source) {
  Normalization result;
  if (json.is_null()) {
    result.clean_text = result.handle_chinese_chars = result.strip_accents = result.lowercase =
        false;
    return result;
  }
  const std::string place = source + ": the normalizer";
  check(json.is_object() && json.contains("type") && json["type"] == "BertNormalizer",
        "{} is {}; only BertNormalizer is supported", place,
        shown(json.is_object() && json.contains("type") ? json["type"].dump() : json.dump()));
  const Section section(
      json, place, {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  result.clean_text = section.flag("clean_text", true);
  result.handle_chinese_chars = section.flag("handle_chinese_chars", true);
  result.lowercase = section.flag("lowercase", true);
  result.strip_accents = section.flag("strip_accents", result.lowercase);
  return result;
}

/// Sets the names of [CLS] and [SEP] from the post-processor, and checks that it puts them where
/// the tokenizer does. Returns the ids that it gives them.
std::pair<i64, i64> read_post_processor(const SortedJson& json, const std::string& source,
                                        VocabularyNames& names) {
  const std::string place = source + ": the post_processor";
  check(json.is_object() && json.contains("type"),
        "{} is missing; it must put [CLS] and [SEP] around a text", place);
  if (json["type"] == "BertProcessing") {
    const Section section(json, place, {"type", "sep", "cls"});
    const auto read = [&](const char* key, std::string& name) {
      const SortedJson& pair = section.at(key);
      check(pair.is_array() && pair.size() == 2 && pair[0].is_string() &&
                pair[1].is_number_unsigned(),
            "{}: '{}' is {}, not a token and its id", place, key, shown(pair.dump()));
      name = pair[0].get<std::string>();
      return pair[1].get<i64>();
    };
    const i64 cls = read("cls", names.cls), sep = read("sep", names.sep);
    return {cls, sep};
  }
  const Section section(json, place, {"type", "single", "pair", "special_tokens"});
  section.require_type("TemplateProcessing");
  const SortedJson& single = section.at("single");
  const auto name_at = [&](std::size_t i) {
    check(single.is_array() && single.size() == 3 && single[i].is_object() &&
              single[i].contains("SpecialToken") && single[i]["SpecialToken"].is_object() &&
              single[i]["SpecialToken"].contains("id") &&
              single[i]["SpecialToken"]["id"].is_string(),
          "{}: 'single' is not [CLS] A [SEP]", place);
    return single[i]["SpecialToken"]["id"].get<std::string>();
  };
  names.cls = name_at(0);
  names.sep = name_at(2);
  check(single == single_template<SortedJson>(names), "{}: 'single' is not {} A {}, of type 0",
        place, shown(names.cls), shown(names.sep));
  check(section.at("pair") == pair_template<SortedJson>(names),
        "{}: 'pair' is not {} A {} of type 0, B {} of type 1", place, shown(names.cls),
        shown(names.sep), shown(names.sep));
  const auto id_of = [&](const std::string& name) {
    const SortedJson& tokens = section.at("special_tokens");
    check(tokens.is_object() && tokens.contains(name), "{}: 'special_tokens' has no '{}'", place,
          shown(name));
    const Section token(tokens[name], fmt::format("{}: '{}'", place, shown(name)),
                        {"id", "ids", "tokens"});
    const SortedJson& ids = token.at("ids");
    check(ids.is_array() && ids.size() == 1 && ids[0].is_number_unsigned(),
          "{}: 'ids' is {}, not one id", token.place(), shown(ids.dump()));
    return ids[0].get<i64>();
  };
  return {id_of(names.cls), id_of(names.sep)};
}

/// Places a token at its id, which no other may have.
void place_token(std::vector<std::string>& tokens, const std::string& token, i64 id,
                 const std::string& place) {
  check(!token.empty(), "{}: the token with id {} is empty", place, id);
  if (static_cast<std::size_t>(id) >= tokens.size())
    tokens.resize(static_cast<std::size_t>(id) + 1);
  std::string& there = tokens[static_cast<std::size_t>(id)];
  check(there.empty() || there == token, "{}: '{}' and '{}' both have id {}", place, shown(there),
        shown(token), id);
  there = token;
}

std::vector<std::string> read_vocabulary(const SortedJson& vocabulary, const std::string& place) {
  check(vocabulary.is_object(), "{}: 'vocab' is of type {}, not an object of tokens and ids", place,
        vocabulary.type_name());
  check(!vocabulary.empty(), "{}: 'vocab' is empty", place);
  std::vector<std::string> tokens;
  for (const auto& [token, id] : vocabulary.items()) {
    // Ids follow one another, so none is as large as the number of tokens.
    const bool fits = id.is_number_integer() && id >= 0 && id < vocabulary.size();
    check(fits, "{}: '{}' has id {}; ids of {} tokens go from 0 to {}", place, shown(token),
          shown(id.dump()), vocabulary.size(), vocabulary.size() - 1);
    place_token(tokens, token, id.get<i64>(), place);
  }
  return tokens;
}

std::map<i64, AddedToken> read_added_tokens(const SortedJson& json, const std::string& source,
                                            std::size_t tokens) {
  std::map<i64, AddedToken> added;
  if (json.is_null()) return added;
  check(json.is_array(), "{}: 'added_tokens' is of type {}, not an array", source,
        json.type_name());
  const auto most = static_cast<i64>(tokens + json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    const Section section(
        json[i], fmt::format("{}: added token {}", source, i),
        {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    const i64 id = section.number("id", 0, most - 1);
    const AddedToken token = read_added_token(section, section.flag("special", false));
    const auto [there, is_new] = added.emplace(id, token);
    check(is_new || there->second.text == token.text, "{}: '{}' and '{}' both have id {}",
          section.place(), shown(there->second.text), shown(token.text), id);
  }
  return added;
}

std::string quoted(const std::string& text) { return Json(text).dump(); }

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& source) {
  const SortedJson json = parse_sorted_json(text, source);
  const Section file(json, source + ": the file",
                     {"version", "truncation", "padding", "added_tokens", "normalizer",
                      "pre_tokenizer", "post_processor", "decoder", "model"});
  if (file.has("version"))
    check(file.text("version") == "1.0", "{}: version is '{}'; only 1.0 is known", source,
          shown(file.text("version")));
  TokenizerJson parts;
  VocabularyNames& names = parts.names;
  if (file.has("padding"))
    names.pad = Section(file.at("padding"), source + ": 'padding'",
                        {"strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id",
                         "pad_token"})
                    .text("pad_token");
  parts.normalization =
      read_normalizer(json.contains("normalizer") ? json["normalizer"] : SortedJson(), source);
  Section(file.at("pre_tokenizer"), source + ": the pre_tokenizer", {"type"})
      .require_type("BertPreTokenizer");

  const SortedJson& model_json = file.at("model");
  if (model_json.is_object() && model_json.contains("type"))
    check(model_json["type"] == "WordPiece", "{}: the model is {}; only WordPiece is supported",
          source, shown(model_json["type"].dump()));
  const Section model(
      model_json, source + ": the model",
      {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  names.unk = model.text("unk_token");
  names.continues = model.text("continuing_subword_prefix");
  parts.max_word_characters =
      static_cast<i32>(model.number("max_input_chars_per_word", 1, kMostWordCharacters));
  parts.tokens = read_vocabulary(model.at("vocab"), source + ": the model");
  parts.added =
      read_added_tokens(json.contains("added_tokens") ? json["added_tokens"] : SortedJson(), source,
                        parts.tokens.size());
  std::tie(parts.cls, parts.sep) = read_post_processor(
      json.contains("post_processor") ? json["post_processor"] : SortedJson(), source, names);
  return parts;
}

AddedToken read_added_token(const Section& section, bool special) {
  AddedToken token(section.text("content"), section.flag("normalized", !special));
  check(!token.text.empty(), "{}: 'content' is empty", section.place());
  for (const char* option : {"single_word", "lstrip", "rstrip"})
    check(!section.flag(option, false), "{}, '{}': '{}' is true, which is not supported",
          section.place(), shown(token.text), option);
  return token;
}

Tokenizer make_tokenizer(TokenizerJson parts, const std::string& source,
                         const std::vector<AddedToken>& more) {
  std::vector<AddedToken> added;
  std::vector<std::string>& tokens = parts.tokens;
  const i64 pieces = std::ssize(tokens);
  std::unordered_set<std::string> known(tokens.begin(), tokens.end()), known_added;
  for (const auto& [id, token] : parts.added) {
    const auto at = static_cast<std::size_t>(id);
    if (at == tokens.size() && known.insert(token.text).second) tokens.push_back(token.text);
    check(at < tokens.size(), "{}: the added token '{}' has id {}, but {} tokens are there", source,
          shown(token.text), id, tokens.size());
    check(tokens[at] == token.text, "{}: '{}' and '{}' both have id {}", source, shown(tokens[at]),
          shown(token.text), id);
    known_added.insert(token.text);
    added.push_back(token);
  }
  for (const AddedToken& token : more) {
    if (!known_added.insert(token.text).second) continue;
    if (known.insert(token.text).second) tokens.push_back(token.text);
    added.push_back(token);
  }
  const VocabularyNames names = parts.names;
  Vocabulary vocabulary(std::move(tokens), source, names, pieces);
  for (const auto& [name, said, has] : {std::tuple(names.cls, parts.cls, vocabulary.special().cls),
                                        std::tuple(names.sep, parts.sep, vocabulary.special().sep)})
    check(said < 0 || said == has, "{}: the post_processor says that '{}' is {}, the vocabulary {}",
          source, shown(name), said, has);
  return Tokenizer(std::move(vocabulary), parts.normalization, parts.max_word_characters,
                   std::move(added), SpecialTokens::as_text);
}

Tokenizer parse_tokenizer_json(std::string_view text, const std::string& source) {
  return make_tokenizer(read_tokenizer_json(text, source), source);
}

std::string tokenizer_json(const Tokenizer& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  const VocabularyNames& names = vocabulary.names();
  const Normalization& n = tokenizer.normalization();
  Json added = Json::array();
  for (const AddedToken& token : tokenizer.added())
    added.push_back({{"id", vocabulary.find(token.text)},
                     {"content", token.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", token.normalized},
                     {"special", !token.normalized}});
  const auto entry = [](const std::string& name, i32 id) {
    return Json{{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  const Json post = {{"type", "TemplateProcessing"},
                     {"single", single_template<Json>(names)},
                     {"pair", pair_template<Json>(names)},
                     {"special_tokens",
                      {{names.cls, entry(names.cls, vocabulary.special().cls)},
                       {names.sep, entry(names.sep, vocabulary.special().sep)}}}};
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", n.clean_text},
                           {"handle_chinese_chars", n.handle_chinese_chars},
                           {"strip_accents", n.strip_accents},
                           {"lowercase", n.lowercase}};
  Json padding;  // needed only to say another name than the usual
  if (names.pad != VocabularyNames().pad)
    padding = {{"strategy", "BatchLongest"},
               {"direction", "Right"},
               {"pad_to_multiple_of", nullptr},
               {"pad_id", vocabulary.special().pad},
               {"pad_type_id", 0},
               {"pad_token", names.pad}};
  std::string vocab;  // an object by hand: Json would search all keys for each
  for (i64 id = 0; id < vocabulary.pieces(); ++id)
    vocab += fmt::format("{}\n      {}: {}", id > 0 ? "," : "", quoted(vocabulary.token(id)), id);
  return fmt::format(
      "{{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": {},\n"
      "  \"added_tokens\": {},\n  \"normalizer\": {},\n"
      "  \"pre_tokenizer\": {{\"type\": \"BertPreTokenizer\"}},\n  \"post_processor\": {},\n"
      "  \"decoder\": {{\"type\": \"WordPiece\", \"prefix\": {}, \"cleanup\": true}},\n"
      "  \"model\": {{\n    \"type\": \"WordPiece\",\n    \"unk_token\": {},\n"
      "    \"continuing_subword_prefix\": {},\n    \"max_input_chars_per_word\": {},\n"
      "    \"vocab\": {{{}\n    }}\n  }}\n}}\n",
      padding.dump(), added.dump(), normalizer.dump(), post.dump(), quoted(names.continues),
      quoted(names.unk), quoted(names.continues), tokenizer.max_word_characters(), vocab);
}

}  // namespace minima
