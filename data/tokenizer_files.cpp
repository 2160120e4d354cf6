#include "data/tokenizer_files.hpp"

#include <algorithm>
#include <initializer_list>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/json.hpp"
#include "core/sorted_json.hpp"
#include "data/utf8.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

/// An object of a JSON file, of which every key must be known; `place` says where it stands.
class Section {
 public:
  Section(const SortedJson& json, std::string place, std::initializer_list<const char*> keys)
      : json_(json), place_(std::move(place)) {
    check(json.is_object(), "{} is of type {}, not an object", place_, json.type_name());
    for (const auto& [key, value] : json.items())
      check(std::ranges::find(keys, key) != keys.end(), "{} has '{}', which is not supported",
            place_, printable(key));
  }

  const std::string& place() const { return place_; }
  bool has(const char* key) const {
    const auto found = json_.find(key);
    return found != json_.end() && !found->is_null();
  }
  const SortedJson& at(const char* key) const {
    check(has(key), "{} has no '{}'", place_, key);
    return json_[key];
  }
  std::string text(const char* key) const {
    check(at(key).is_string(), "{}: '{}' is of type {}, not a string", place_, key,
          at(key).type_name());
    return at(key).get<std::string>();
  }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    check(at(key).is_boolean(), "{}: '{}' is of type {}, not true or false", place_, key,
          at(key).type_name());
    return at(key).get<bool>();
  }
  /// A whole number from `least` to `most`.
  i64 number(const char* key, i64 least, i64 most) const {
    const SortedJson& value = at(key);
    const bool fits = value.is_number_integer() && value >= least && value <= most;
    check(fits, "{}: '{}' is {}; it must be a whole number from {} to {}", place_, key,
          printable(value.dump()), least, most);
    return value.get<i64>();
  }
  /// Refuses every type but this one.
  void require_type(const char* type) const {
    check(text("type") == type, "{} is of type '{}'; only {} is supported", place_,
          printable(text("type")), type);
  }

 private:
  const SortedJson& json_;
  std::string place_;
};

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
        printable(json.is_object() && json.contains("type") ? json["type"].dump() : json.dump()));
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
      check(
          pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_number_integer(),
          "{}: '{}' is {}, not a token and its id", place, key, printable(pair.dump()));
      name = pair[0].get<std::string>();
      return pair[1].get<i64>();
    };
    const i64 cls = read("cls", names.cls), sep = read("sep", names.sep);
    return {cls, sep};
  }
  const Section section(json, place, {"type", "single", "pair", "special_tokens"});
  section.require_type("TemplateProcessing");
  const auto special = [](const std::string& name, int type) {
    return SortedJson{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return SortedJson{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
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
  check(single == SortedJson{special(names.cls, 0), sequence("A", 0), special(names.sep, 0)},
        "{}: 'single' is not {} A {}, of type 0", place, printable(names.cls),
        printable(names.sep));
  check(section.at("pair") == SortedJson{special(names.cls, 0), sequence("A", 0),
                                         special(names.sep, 0), sequence("B", 1),
                                         special(names.sep, 1)},
        "{}: 'pair' is not {} A {} of type 0, B {} of type 1", place, printable(names.cls),
        printable(names.sep), printable(names.sep));
  const auto id_of = [&](const std::string& name) {
    const SortedJson& tokens = section.at("special_tokens");
    check(tokens.is_object() && tokens.contains(name), "{}: 'special_tokens' has no '{}'", place,
          printable(name));
    const Section token(tokens[name], fmt::format("{}: '{}'", place, printable(name)),
                        {"id", "ids", "tokens"});
    const SortedJson& ids = token.at("ids");
    check(ids.is_array() && ids.size() == 1 && ids[0].is_number_integer(),
          "{}: 'ids' is {}, not one id", token.place(), printable(ids.dump()));
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
  check(there.empty() || there == token, "{}: '{}' and '{}' both have id {}", place,
        printable(there), printable(token), id);
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
    check(fits, "{}: '{}' has id {}; ids of {} tokens go from 0 to {}", place, printable(token),
          printable(id.dump()), vocabulary.size(), vocabulary.size() - 1);
    place_token(tokens, token, id.get<i64>(), place);
  }
  return tokens;
}

/// Adds the tokens beyond the vocabulary to it; returns all that are cut out of a text.
std::vector<std::string> read_added_tokens(const SortedJson& json, const std::string& source,
                                           std::vector<std::string>& tokens) {
  std::vector<std::string> added;
  if (json.is_null()) return added;
  check(json.is_array(), "{}: 'added_tokens' is of type {}, not an array", source,
        json.type_name());
  const std::size_t most = tokens.size() + json.size();
  for (std::size_t i = 0; i < json.size(); ++i) {
    const Section token(
        json[i], fmt::format("{}: added token {}", source, i),
        {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    const i64 id = token.number("id", 0, static_cast<i64>(most) - 1);
    const std::string content = token.text("content");
    for (const char* option : {"single_word", "lstrip", "rstrip", "normalized"})
      check(!token.flag(option, false), "{}, '{}': '{}' is true, which is not supported",
            token.place(), printable(content), option);
    place_token(tokens, content, id, token.place());
    added.push_back(content);
  }
  for (std::size_t id = 0; id < tokens.size(); ++id)
    check(!tokens[id].empty(), "{}: no token has id {}, but {} tokens are there", source, id,
          tokens.size());
  return added;
}

/// do_lower_case, strip_accents and tokenize_chinese_chars of a tokenizer_config.json.
Normalization configured(const fs::path& folder, Normalization normalization) {
  const fs::path path = folder / "tokenizer_config.json";
  if (std::error_code none; !fs::exists(path, none)) return normalization;
  const SortedJson json = parse_sorted_json(read_file(path), path.string());
  check(json.is_object(), "{}: is of type {}, not an object", path.string(), json.type_name());
  const auto flag = [&](const char* key) -> std::optional<bool> {
    if (!json.contains(key) || json[key].is_null()) return std::nullopt;
    check(json[key].is_boolean(), "{}: '{}' is of type {}, not true or false", path.string(), key,
          json[key].type_name());
    return json[key].get<bool>();
  };
  const std::optional<bool> lower = flag("do_lower_case");
  if (lower && *lower != normalization.lowercase)
    normalization.lowercase = normalization.strip_accents = *lower;
  normalization.strip_accents = flag("strip_accents").value_or(normalization.strip_accents);
  normalization.handle_chinese_chars =
      flag("tokenize_chinese_chars").value_or(normalization.handle_chinese_chars);
  return normalization;
}

std::string quoted(const std::string& text) { return Json(text).dump(); }

std::string tokenizer_json(const Tokenizer& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  const VocabularyNames& names = vocabulary.names();
  const Normalization& n = tokenizer.normalization();
  Json added = Json::array();
  std::vector<AddedTokens::Token> by_id = tokenizer.added().tokens();
  std::ranges::sort(by_id, {}, &AddedTokens::Token::id);
  for (const AddedTokens::Token& token : by_id)
    added.push_back({{"id", token.id},
                     {"content", token.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  const auto special = [](const std::string& name, int type) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const auto entry = [](const std::string& name, i32 id) {
    return Json{{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  const Json post = {{"type", "TemplateProcessing"},
                     {"single", {special(names.cls, 0), sequence("A", 0), special(names.sep, 0)}},
                     {"pair",
                      {special(names.cls, 0), sequence("A", 0), special(names.sep, 0),
                       sequence("B", 1), special(names.sep, 1)}},
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
  for (i64 id = 0; id < vocabulary.size(); ++id)
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

}  // namespace

Tokenizer parse_tokenizer_json(std::string_view text, const std::string& source) {
  const SortedJson json = parse_sorted_json(text, source);
  const Section file(json, source + ": the file",
                     {"version", "truncation", "padding", "added_tokens", "normalizer",
                      "pre_tokenizer", "post_processor", "decoder", "model"});
  if (file.has("version"))
    check(file.text("version") == "1.0", "{}: version is '{}'; only 1.0 is known", source,
          printable(file.text("version")));
  VocabularyNames names;
  if (file.has("padding"))
    names.pad = Section(file.at("padding"), source + ": 'padding'",
                        {"strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id",
                         "pad_token"})
                    .text("pad_token");
  const Normalization normalization =
      read_normalizer(json.contains("normalizer") ? json["normalizer"] : SortedJson(), source);
  Section(file.at("pre_tokenizer"), source + ": the pre_tokenizer", {"type"})
      .require_type("BertPreTokenizer");

  const SortedJson& model_json = file.at("model");
  if (model_json.is_object() && model_json.contains("type"))
    check(model_json["type"] == "WordPiece", "{}: the model is {}; only WordPiece is supported",
          source, printable(model_json["type"].dump()));
  const Section model(
      model_json, source + ": the model",
      {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  names.unk = model.text("unk_token");
  names.continues = model.text("continuing_subword_prefix");
  const i64 longest = model.number("max_input_chars_per_word", 1, kMostWordCharacters);
  std::vector<std::string> tokens = read_vocabulary(model.at("vocab"), source + ": the model");
  const std::vector<std::string> added = read_added_tokens(
      json.contains("added_tokens") ? json["added_tokens"] : SortedJson(), source, tokens);
  const auto [cls, sep] = read_post_processor(
      json.contains("post_processor") ? json["post_processor"] : SortedJson(), source, names);

  Vocabulary vocabulary(std::move(tokens), source, names);
  for (const auto& [name, said, has] : {std::tuple(names.cls, cls, vocabulary.special().cls),
                                        std::tuple(names.sep, sep, vocabulary.special().sep)})
    check(said == has, "{}: the post_processor says that '{}' is {}, the vocabulary {}", source,
          printable(name), said, has);
  return Tokenizer(std::move(vocabulary), normalization, static_cast<i32>(longest), added);
}

Tokenizer read_tokenizer(const fs::path& path, std::optional<Casing> casing) {
  const auto of_json = [](const fs::path& file) {
    return parse_tokenizer_json(read_file(file), file.string());
  };
  if (std::error_code none; !fs::is_directory(path, none)) {
    if (path.extension() == ".json") return of_json(path);
    return Tokenizer(Vocabulary::read(path), casing.value_or(Casing::uncased));
  }
  std::error_code none;
  const fs::path json = path / "tokenizer.json", vocabulary = path / "vocab.txt";
  check(fs::exists(json, none) || fs::exists(vocabulary, none),
        "{}: has neither tokenizer.json nor vocab.txt", path.string());
  if (!fs::exists(json, none))
    return Tokenizer(Vocabulary::read(vocabulary),
                     configured(path, casing.value_or(Casing::uncased)));
  const Tokenizer read = of_json(json);
  std::vector<std::string> added;
  for (const AddedTokens::Token& token : read.added().tokens()) added.push_back(token.text);
  return Tokenizer(read.vocabulary(), configured(path, read.normalization()),
                   read.max_word_characters(), added);
}

void write_tokenizer(const fs::path& folder, const Tokenizer& tokenizer, i64 max_length,
                     TokenTypes types) {
  const VocabularyNames& names = tokenizer.vocabulary().names();
  const Normalization& n = tokenizer.normalization();
  const Json special = {{"pad_token", names.pad},
                        {"unk_token", names.unk},
                        {"cls_token", names.cls},
                        {"sep_token", names.sep},
                        {"mask_token", names.mask}};
  Json config = special;
  config["tokenizer_class"] = "BertTokenizer";
  config["do_lower_case"] = n.lowercase;
  config["strip_accents"] = n.strip_accents == n.lowercase ? Json() : Json(n.strip_accents);
  config["tokenize_chinese_chars"] = n.handle_chinese_chars;
  config["model_max_length"] = max_length;
  config["model_input_names"] = {"input_ids", "attention_mask"};
  if (types == TokenTypes::taken) config["model_input_names"].push_back("token_type_ids");
  // Where a token holds a line's end, vocab.txt cannot say so; tokenizer.json can.
  if (std::ranges::none_of(tokenizer.vocabulary().tokens(), [](const std::string& token) {
        return token.find_first_of("\r\n") != token.npos;
      }))
    tokenizer.vocabulary().write(folder / "vocab.txt");
  write_file(folder / "tokenizer.json", tokenizer_json(tokenizer));
  write_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_file(folder / "special_tokens_map.json", special.dump(2) + "\n");
}

}  // namespace minima
