#include "nn/models/config.hpp"

#include <map>
#include <set>

#include "core/text/utf8.hpp"

namespace minima::nn {
namespace {

constexpr i64 kLargest = i64{1} << 31, kMostLabels = i64{1} << 20;

/// An object's values by key, with what a message needs.
struct Reader {
  const Json& json;
  const std::string& source;

  bool has(const char* key) const { return json.contains(key) && !json[key].is_null(); }

  /// Absent or null: `fallback`.
  template <class T>
  T get(const char* key, T fallback) const {
    return has(key) ? required<T>(key) : fallback;
  }

  template <class T>
  T required(const char* key) const {
    check(has(key), "{}: has no '{}'", source, key);
    const Json& value = json[key];
    const auto must = [&](bool ok, const char* what) {
      check(ok, "{}: '{}' is {}; it must be {}", source, key, shown(value.dump()), what);
    };
    if constexpr (std::is_same_v<T, i64>)
      must(value.is_number_integer() && value >= 1 && value <= kLargest,
           "a whole number from 1 to 2147483648");
    else if constexpr (std::is_same_v<T, double>)
      must(value.is_number() && value >= 0.0, "a number from 0");
    else if constexpr (std::is_same_v<T, bool>)
      must(value.is_boolean(), "true or false");
    else
      must(value.is_string(), "a string");
    return value.get<T>();
  }

  double rate(const char* key, double fallback) const {
    const double rate = get(key, fallback);
    check(rate < 1, "{}: '{}' is {}; a dropout rate is below 1", source, key, rate);
    return rate;
  }

  /// Refuses a variant of the model that this program does not have.
  template <class T>
  void only(const char* key, const T& known, const char* has) const {
    const T value = get<T>(key, known);
    check(value == known, "{}: '{}' is {}; this program has {}", source, key,
          shown(Json(value).dump()), has);
  }
};

std::vector<std::string> label_names_of(const Reader& reader) {
  if (!reader.has("id2label")) return {};
  const Json& names = reader.json["id2label"];
  check(names.is_object() && !names.empty(),
        "{}: 'id2label' must be an object of names, {{\"0\": \"no\", \"1\": \"yes\"}}",
        reader.source);
  std::map<std::string, const Json*> name_of;  // Json searches all keys for one
  for (const auto& [key, name] : names.items()) name_of.emplace(key, &name);
  std::vector<std::string> result;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = name_of.find(std::to_string(i));
    check(found != name_of.end(), "{}: 'id2label' has no name for {}; its keys must be 0 to {}",
          reader.source, i, names.size() - 1);
    const Json& name = *found->second;
    check(name.is_string() || name.is_number_integer(),
          "{}: 'id2label' has {} for {}; a name is a string, or a whole number", reader.source,
          shown(name.dump()), i);
    result.push_back(name.is_string() ? name.get<std::string>() : name.dump());
    check(result.back().find_first_of("\r\n") == std::string::npos,
          "{}: 'id2label' has the name '{}'; a name stands on one line", reader.source,
          shown(result.back()));
    check(seen.insert(result.back()).second, "{}: 'id2label' has the name '{}' twice",
          reader.source, shown(result.back()));
  }
  return result;
}

std::optional<i64> pad_token_of(const Reader& reader, i64 vocabulary) {
  if (!reader.json.contains("pad_token_id")) return 0;
  const Json& value = reader.json["pad_token_id"];
  if (value.is_null()) return {};
  check(value.is_number_integer() && value >= 0 && value < vocabulary,
        "{}: 'pad_token_id' is {}; it must be a token of the vocabulary of {}, or null",
        reader.source, shown(value.dump()), vocabulary);
  return value.get<i64>();
}

Architecture architecture_of(const Reader& reader) {
  const auto type = reader.required<std::string>("model_type");
  for (const Architecture one : kArchitectures)
    if (type == names_of(one).model_type) return one;
  throw UnknownArchitecture(
      fmt::format("{}: model_type is '{}'; this program reads 'distilbert' and 'bert'",
                  reader.source, shown(type)));
}

}  // namespace

EncoderConfig EncoderConfig::from_json(const Json& json, const std::string& source) {
  check(json.is_object(), "{}: not a JSON object", source);
  const Reader reader{json, source};
  EncoderConfig config;
  config.architecture = architecture_of(reader);
  const ArchitectureNames& names = config.names();
  reader.only<std::string>(names.activation, "gelu", "'gelu'");
  reader.only<std::string>("problem_type", "single_label_classification",
                           "single_label_classification (to train such a model for classes, take "
                           "'problem_type' out of its config.json)");
  config.vocabulary = reader.required<i64>("vocab_size");
  config.positions = reader.required<i64>("max_position_embeddings");
  config.dim = reader.required<i64>(names.dim);
  config.heads = reader.required<i64>(names.heads);
  config.layers = reader.required<i64>(names.layer_count);
  config.hidden = reader.required<i64>(names.hidden);
  check(config.dim % config.heads == 0, "{}: {} heads do not divide {} {}", source, config.heads,
        names.dim, config.dim);
  config.dropout = reader.rate(names.dropout, config.dropout);
  config.attention_dropout = reader.rate(names.attention_dropout, config.attention_dropout);
  if (config.architecture == Architecture::bert) {
    reader.only<std::string>("position_embedding_type", "absolute", "'absolute'");
    reader.only("is_decoder", false, "encoders");
    reader.only("add_cross_attention", false, "encoders without cross-attention");
    config.token_types = reader.get("type_vocab_size", config.token_types);
    config.layer_norm_eps = reader.get("layer_norm_eps", config.layer_norm_eps);
    config.attention_output_dropout = config.classifier_dropout = config.dropout;
  } else {
    reader.only("sinusoidal_pos_embds", false,
                "learned positions (of a checkpoint, whose weights have them, take "
                "'sinusoidal_pos_embds' out of its config.json)");
    config.layer_norm_eps = reader.get("minima_layer_norm_eps", config.layer_norm_eps);
  }
  config.attention_output_dropout =
      reader.rate("minima_attention_output_dropout", config.attention_output_dropout);
  config.classifier_dropout = reader.rate(names.classifier_dropout, config.classifier_dropout);
  config.initializer_range = reader.get("initializer_range", config.initializer_range);
  config.pad_token = pad_token_of(reader, config.vocabulary);
  config.label_names = label_names_of(reader);
  const i64 names_given = std::ssize(config.label_names);
  config.labels = reader.get<i64>("num_labels", names_given > 0 ? names_given : 2);
  check(names_given == 0 || config.labels == names_given,
        "{}: 'num_labels' is {}, 'id2label' has {} names; remove the one that is wrong", source,
        config.labels, names_given);
  check(config.labels <= kMostLabels, "{}: 'num_labels' is {}; it must be at most {}", source,
        config.labels, kMostLabels);
  const auto pooling = reader.get<std::string>("minima_pooling", "first");
  check(pooling == "first" || pooling == "mean",
        "{}: 'minima_pooling' is '{}'; it can be first or mean", source, shown(pooling));
  config.pooling = pooling == "mean" ? Pooling::mean : Pooling::first;
  config.lower_case = reader.get("minima_lower_case", true);
  config.pairs = reader.get("minima_pairs", false);
  return config;
}

Json EncoderConfig::to_json() const {
  Json id2label = Json::object(), label2id = Json::object();
  auto& names_by_id = id2label.get_ref<Json::object_t&>();  // whose [] would search them all
  auto& ids_by_name = label2id.get_ref<Json::object_t&>();
  for (i64 label = 0; const std::string& name : names_of_labels()) {
    names_by_id.emplace_back(std::to_string(label), name);
    ids_by_name.emplace_back(name, label++);
  }
  Json json = {{"architectures", {names().classifier_class}},
               {"model_type", names().model_type},
               {"vocab_size", vocabulary},
               {"max_position_embeddings", positions},
               {names().dim, dim},
               {names().heads, heads},
               {names().layer_count, layers},
               {names().hidden, hidden},
               {names().activation, "gelu"},
               {names().dropout, dropout},
               {names().attention_dropout, attention_dropout},
               {names().classifier_dropout, classifier_dropout},
               {"initializer_range", initializer_range},
               {"pad_token_id", pad_token ? Json(*pad_token) : Json()},
               {"id2label", std::move(id2label)},
               {"label2id", std::move(label2id)},
               {"minima_lower_case", lower_case},
               {"minima_pooling", pooling == Pooling::mean ? "mean" : "first"}};
  if (pairs) json["minima_pairs"] = true;
  if (const std::string warning = export_warning(); !warning.empty())
    json["minima_warning"] = warning;
  if (architecture == Architecture::bert) {
    json["type_vocab_size"] = token_types;
    json["layer_norm_eps"] = layer_norm_eps;
  } else {
    json["sinusoidal_pos_embds"] = false;
    if (layer_norm_eps != EncoderConfig().layer_norm_eps)
      json["minima_layer_norm_eps"] = layer_norm_eps;
  }
  if (attention_output_dropout != (architecture == Architecture::bert ? dropout : 0))
    json["minima_attention_output_dropout"] = attention_output_dropout;
  return json;
}

std::vector<std::string> EncoderConfig::names_of_labels() const {
  std::vector<std::string> all = label_names;
  for (i64 label = std::ssize(all); label < labels; ++label)
    all.push_back(fmt::format("LABEL_{}", label));
  return all;
}

Json EncoderConfig::masked_lm_json() const {
  Json json = to_json();
  json["architectures"] = {names().lm_class};
  erase_classes(json);
  return json;
}

std::string EncoderConfig::export_warning() const {
  if (pooling == Pooling::first) return "";
  return "the classifier reads the mean of all tokens, for which transformers has no class: there "
         "it would give other logits; --pooling first trains a model that is the same in both";
}

void EncoderConfig::check_pairs(const std::string& model) const {
  check(architecture != Architecture::bert || token_types >= 2,
        "{}: has one token type, and cannot tell the two texts of a pair apart", model);
}

void erase_classes(Json& config) {
  for (const char* key : {"id2label", "label2id", "num_labels", "minima_warning"})
    config.erase(key);
}

std::vector<std::string> preset_names() {
  return {"tiny", "small", "medium", "distilbert-base", "distilbert-base-cased"};
}

EncoderConfig preset(const std::string& name) {
  EncoderConfig config;  // distilbert-base
  const auto sizes = [&](i64 dim, i64 layers, i64 heads, i64 hidden) {
    config.dim = dim;
    config.layers = layers;
    config.heads = heads;
    config.hidden = hidden;
    config.positions = 128;
  };
  if (name == "tiny" || name == "small") {
    // Little text over-fits: few layers, much dropout and the mean of all tokens do best from
    // scratch.
    sizes(name == "tiny" ? 64 : 128, 1, 4, name == "tiny" ? 128 : 256);
    config.dropout = config.attention_dropout = config.classifier_dropout = 0.2;
    config.pooling = Pooling::mean;
  } else if (name == "medium") {
    sizes(256, 4, 4, 1024);
    config.classifier_dropout = 0.1;
  } else if (name == "distilbert-base-cased") {
    config.vocabulary = 28996;
    config.lower_case = false;
  } else {
    check(name == "distilbert-base", "model: no folder and no preset is named '{}'; presets: {}",
          name, fmt::format("{}", fmt::join(preset_names(), ", ")));
  }
  return config;
}

}  // namespace minima::nn
