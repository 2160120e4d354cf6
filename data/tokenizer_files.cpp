#include "data/tokenizer_files.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "data/json_section.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

/// The object in a file; an empty one where there is no file.
struct JsonFile {
  explicit JsonFile(const fs::path& path)
      : json(is_there(path) ? parse_sorted_json(read_file(path), path.string())
                            : SortedJson::object()),
        section(json, path.string() + ": the file") {}
  JsonFile(const JsonFile&) = delete;  // `section` looks into `json`
  const SortedJson json;
  const Section section;
};

constexpr std::string_view kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

/// tokenizer_config.json, and where that has no added_tokens_decoder what stands over it and beside
/// it: special_tokens_map.json and added_tokens.json.
class Configuration {
 public:
  explicit Configuration(const fs::path& folder)
      : file_(folder / "tokenizer_config.json"),
        map_(folder / "special_tokens_map.json"),
        more_(folder / "added_tokens.json"),
        has_decoder_(file_.json.contains("added_tokens_decoder")) {
    const Section& config = file_.section;
    check(!config.flag("split_special_tokens", false),
          "{}: 'split_special_tokens' is true, which "
          "is not supported",
          config.place());
    if (config.has("truncation_side"))
      check(config.text("truncation_side") == "right",
            "{}: 'truncation_side' is '{}'; texts are cut at their right end only", config.place(),
            shown(config.text("truncation_side")));
    if (config.has("init_inputs"))
      check(config.at("init_inputs").is_array() && config.at("init_inputs").empty(),
            "{}: 'init_inputs' is {}, which is not supported", config.place(),
            shown(config.at("init_inputs").dump()));
  }

  /// Whether all but the tokens is said here, and not in tokenizer.json.
  bool is_bert() const {
    const Section& config = file_.section;
    if (!config.has("tokenizer_class")) return true;
    const std::string name = config.text("tokenizer_class");
    for (const std::string bert :
         {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"})
      if (name == bert || name == bert + "Fast") return true;
    check(name == "PreTrainedTokenizerFast" || name == "TokenizersBackend",
          "{}: 'tokenizer_class' is '{}'; BertTokenizer, its like and PreTrainedTokenizerFast are "
          "supported",
          config.place(), shown(name));
    return false;
  }

  Normalization normalization() const {
    Normalization result;
    result.lowercase = flag("do_lower_case");
    result.strip_accents = file_.section.flag("strip_accents", result.lowercase);
    result.handle_chinese_chars = flag("tokenize_chinese_chars");
    return result;
  }

  VocabularyNames names() const {
    VocabularyNames names;
    for (const auto& [key, name] : {std::pair("pad_token", &names.pad),
                                    {"unk_token", &names.unk},
                                    {"cls_token", &names.cls},
                                    {"sep_token", &names.sep},
                                    {"mask_token", &names.mask}}) {
      const JsonFile* const file = that_says(key);
      if (!file) continue;
      if (file->section.has(key))
        *name = token(*file, key).text;
      else
        name->clear();
      check(!name->empty() || name == &names.mask, "{}: '{}' is null; a tokenizer needs it",
            file->section.place(), key);
    }
    return names;
  }

  /// The tokens of added_tokens_decoder, over those of tokenizer.json where that is taken as it is;
  /// else those of added_tokens.json, under those of tokenizer.json.
  std::map<i64, AddedToken> added(const std::map<i64, AddedToken>& of_json) const {
    if (has_decoder_) {
      std::map<i64, AddedToken> added = decoder();
      if (!is_bert()) added.insert(of_json.begin(), of_json.end());
      return added;
    }
    std::map<i64, AddedToken> added = of_json;
    std::vector<AddedToken> special = named();
    add_extra(special);
    std::set<std::string_view> special_texts;
    for (const AddedToken& token : special) special_texts.insert(token.text);
    for (const auto& [text, id] : more_.json.items()) {
      check(!text.empty() && id.is_number_integer() && id >= 0 && id <= kMostTokens,
            "{}: '{}' has id {}; it must be a whole number from 0 to {}", more_.section.place(),
            shown(text), shown(id.dump()), kMostTokens);
      const auto [there, is_new] =
          added.emplace(id.get<i64>(), AddedToken(text, !special_texts.contains(text)));
      check(is_new || there->second.text == text, "{}: '{}' and '{}' both have id {}",
            more_.section.place(), shown(there->second.text), shown(text), there->first);
    }
    return added;
  }

  /// The tokens that have a name, and the further ones that are called special.
  std::vector<AddedToken> special() const {
    std::vector<AddedToken> tokens = named();
    for (const JsonFile* file : files())
      for (const auto& [key, value] : file->json.items())
        if (key.ends_with("_token") && std::ranges::find(kNamed, key) == std::end(kNamed) &&
            (value.is_string() || value.is_object()))
          add(tokens, key);
    add_extra(tokens);
    if (!has_decoder_) add_list(tokens, map_, "additional_special_tokens");
    return tokens;
  }

 private:
  static constexpr i64 kMostTokens = i64{1} << 31;

  /// The file whose word on `key` counts; null where neither has one.
  const JsonFile* that_says(const std::string& key) const {
    if (!has_decoder_ && map_.json.contains(key)) return &map_;
    return file_.json.contains(key) ? &file_ : nullptr;
  }

  bool flag(const char* key) const {
    check(!file_.json.contains(key) || file_.section.has(key),
          "{}: '{}' is null; it must be true or false", file_.section.place(), key);
    return file_.section.flag(key, true);
  }

  static AddedToken token(const SortedJson& value, const std::string& place) {
    if (value.is_object()) return read_added_token(Section(value, place), true);
    check(value.is_string() && value != "", "{} is {}, not a token", place, shown(value.dump()));
    return {value.get<std::string>()};
  }
  static AddedToken token(const JsonFile& file, const std::string& key) {
    return token(file.json[key], fmt::format("{}: '{}'", file.section.place(), key));
  }

  /// The files that say which tokens are special.
  std::vector<const JsonFile*> files() const {
    return has_decoder_ ? std::vector{&file_} : std::vector{&file_, &map_};
  }

  std::vector<AddedToken> named() const {
    std::vector<AddedToken> tokens;
    for (const std::string_view key : kNamed) add(tokens, std::string(key));
    return tokens;
  }

  void add_extra(std::vector<AddedToken>& tokens) const {
    for (const JsonFile* file : files()) add_list(tokens, *file, "extra_special_tokens");
    add_list(tokens, file_, "additional_special_tokens");
  }

  static void add_list(std::vector<AddedToken>& tokens, const JsonFile& file, const char* key) {
    if (!file.section.has(key)) return;
    const SortedJson& list = file.section.at(key);
    check(list.is_array() || list.is_object(), "{}: '{}' is of type {}, not an array",
          file.section.place(), key, list.type_name());
    for (const auto& [name, value] : list.items())
      tokens.push_back(token(value, fmt::format("{}: '{}'", file.section.place(), key)));
  }

  void add(std::vector<AddedToken>& tokens, const std::string& key) const {
    const JsonFile* const file = that_says(key);
    if (file && file->section.has(key.c_str())) tokens.push_back(token(*file, key));
  }

  std::map<i64, AddedToken> decoder() const {
    std::map<i64, AddedToken> added;
    const std::string place = file_.section.place() + ": 'added_tokens_decoder'";
    const SortedJson& json = file_.json["added_tokens_decoder"];
    Section all(json, place);
    for (const auto& [digits, value] : json.items()) {
      i64 id = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
      check(error == std::errc() && end == digits.data() + digits.size() && id >= 0 &&
                id <= kMostTokens,
            "{}: '{}' is no id", place, shown(digits));
      const Section section(value, fmt::format("{}: {}", place, id));
      added.emplace(id, read_added_token(section, section.flag("special", false)));
    }
    return added;
  }

  JsonFile file_, map_, more_;
  bool has_decoder_;
};

/// Refuses a tokenizer.json that says other than what BertTokenizerFast makes of its folder:
/// versions of the public library differ in whom they follow.
void check_agreement(const TokenizerJson& json, const VocabularyNames& names,
                     const std::string& source) {
  constexpr std::string_view kWayOut =
      "a \"tokenizer_class\" of \"PreTrainedTokenizerFast\" in tokenizer_config.json takes "
      "tokenizer.json as it is";
  for (const auto& [what, here, there] : {std::tuple("unk_token", json.names.unk, names.unk),
                                          {"cls_token", json.names.cls, names.cls},
                                          {"sep_token", json.names.sep, names.sep}})
    check(here == there, "{}: the {} is '{}', by the files beside it '{}'; {}", source, what,
          shown(here), shown(there), kWayOut);
  check(json.normalization.clean_text, "{}: clean_text is off, BertTokenizer cleans; {}", source,
        kWayOut);
  check(json.names.continues == names.continues,
        "{}: the continuing_subword_prefix is '{}', BertTokenizer's '{}'; {}", source,
        shown(json.names.continues), names.continues, kWayOut);
  check(json.max_word_characters == kMaxWordCharacters,
        "{}: max_input_chars_per_word is {}, BertTokenizer's {}; {}", source,
        json.max_word_characters, kMaxWordCharacters, kWayOut);
}

Tokenizer read_folder(const fs::path& folder) {
  const fs::path json = folder / "tokenizer.json", vocabulary = folder / "vocab.txt";
  const bool has_json = is_there(json);
  check(has_json || is_there(vocabulary), "{}: has neither tokenizer.json nor vocab.txt",
        folder.string());
  const Configuration config(folder);
  const bool is_bert = config.is_bert();
  check(has_json || is_bert,
        "{}: tokenizer_config.json's class takes a tokenizer.json; there is none", folder.string());
  const std::string source = (has_json ? json : vocabulary).string();
  TokenizerJson parts;
  if (has_json)
    parts = read_tokenizer_json(read_file(json), source);
  else
    parts.tokens = Vocabulary::tokens_in(read_file(vocabulary), source);
  if (is_bert) {
    const VocabularyNames names = config.names();
    if (has_json) check_agreement(parts, names, source);
    parts.names = names;
    parts.normalization = config.normalization();
  } else {
    parts.names.mask = config.names().mask;
  }
  parts.added = config.added(parts.added);

  // What else is special is cut out too, and goes behind the rest where it is not there yet.
  std::set<std::string_view> all(parts.tokens.begin(), parts.tokens.end());
  for (const auto& [id, token] : parts.added) all.insert(token.text);
  const auto is_there = [&](const std::string& text) { return all.contains(text); };
  std::vector<AddedToken> special = config.special();
  if (is_bert) {
    const VocabularyNames& n = parts.names;
    const std::vector<std::string> usual = {n.unk, n.sep, n.pad, n.cls, n.mask};
    std::erase_if(special, [&](const AddedToken& token) {
      return std::ranges::count(usual, token.text) > 0 && !is_there(token.text);
    });
    for (const AddedToken& token : special)
      check(n.mask.empty() || is_there(n.mask) || is_there(token.text),
            "{}: '{}' would get the id that is kept for {}, which is missing; name no mask_token "
            "(null), or list both in added_tokens_decoder",
            source, shown(token.text), shown(n.mask));
    for (const std::string& name : usual)
      if (is_there(name)) special.emplace_back(name);
  }
  return make_tokenizer(std::move(parts), source, special);
}

}  // namespace

Tokenizer read_tokenizer(const fs::path& path, std::optional<Casing> casing) {
  check(!casing || is_vocabulary(path),
        "{}: says itself what becomes of capitals; --cased and --uncased go with a vocab.txt",
        path.string());
  if (is_vocabulary(path))
    return Tokenizer(Vocabulary::read(path), casing.value_or(Casing::uncased));
  if (path.extension() == ".json") return parse_tokenizer_json(read_file(path), path.string());
  return read_folder(path);
}

bool is_vocabulary(const fs::path& path) {
  std::error_code none;
  return !path.empty() && path.extension() != ".json" && !fs::is_directory(path, none);
}

void write_tokenizer(const fs::path& folder, const Tokenizer& tokenizer, i64 max_length,
                     TokenTypes types) {
  const VocabularyNames& names = tokenizer.vocabulary().names();
  const Normalization& n = tokenizer.normalization();
  Json special = {{"pad_token", names.pad},
                  {"unk_token", names.unk},
                  {"cls_token", names.cls},
                  {"sep_token", names.sep},
                  {"mask_token", nullptr}};  // else the public library would add one
  if (tokenizer.vocabulary().special().mask >= 0) special["mask_token"] = names.mask;
  // BertTokenizer has no option for the rest of what tokenizer.json says.
  const bool is_bert = n.clean_text && names.continues == VocabularyNames().continues &&
                       tokenizer.max_word_characters() == kMaxWordCharacters;
  Json config = special;
  config["tokenizer_class"] = is_bert ? "BertTokenizer" : "PreTrainedTokenizerFast";
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
