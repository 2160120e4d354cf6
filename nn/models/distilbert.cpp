#include "nn/models/distilbert.hpp"

#include "autograd/functions.hpp"

namespace minima::nn {
namespace {

/// Reads one key of a config; `what` says what is expected of it.
template <class T>
T value_of(const Json& json, const std::string& source, const char* key, T fallback,
           bool required = false) {
  if (!json.contains(key) || json[key].is_null()) {
    check(!required, "{}: has no '{}'", source, key);
    return fallback;
  }
  const Json& value = json[key];
  if constexpr (std::is_same_v<T, i64>) {
    check(value.is_number_integer() && value.get<i64>() > 0 && value.get<i64>() <= (i64{1} << 31),
          "{}: '{}' is {}; it must be a whole number from 1 to 2147483648", source, key,
          value.dump());
  } else if constexpr (std::is_same_v<T, double>) {
    check(value.is_number() && value.get<double>() >= 0,
          "{}: '{}' is {}; it must be a number from 0", source, key, value.dump());
  } else if constexpr (std::is_same_v<T, bool>) {
    check(value.is_boolean(), "{}: '{}' is {}; it must be true or false", source, key,
          value.dump());
  } else {
    check(value.is_string(), "{}: '{}' is {}; it must be a string", source, key, value.dump());
  }
  return value.get<T>();
}

double rate_of(const Json& json, const std::string& source, const char* key, double fallback) {
  const double rate = value_of(json, source, key, fallback);
  check(rate < 1, "{}: '{}' is {}; a dropout rate is below 1", source, key, rate);
  return rate;
}

std::vector<std::string> label_names_of(const Json& json, const std::string& source) {
  if (!json.contains("id2label")) return {};
  const Json& names = json["id2label"];
  check(names.is_object() && !names.empty(), "{}: 'id2label' must be an object of names", source);
  std::vector<std::string> result;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string key = std::to_string(i);
    check(names.contains(key) && names[key].is_string(), "{}: 'id2label' has no name for {}",
          source, key);
    result.push_back(names[key].get<std::string>());
  }
  return result;
}

std::string label_name(const DistilBertConfig& config, i64 label) {
  return config.label_names.empty() ? fmt::format("LABEL_{}", label)
                                    : config.label_names[static_cast<std::size_t>(label)];
}

}  // namespace

DistilBertConfig DistilBertConfig::from_json(const Json& json, const std::string& source) {
  check(json.is_object(), "{}: not a JSON object", source);
  const auto type = value_of<std::string>(json, source, "model_type", "", true);
  check(type == "distilbert", "{}: model_type is '{}'; this program reads 'distilbert'", source,
        type);
  const auto activation = value_of<std::string>(json, source, "activation", "gelu");
  check(activation == "gelu", "{}: activation is '{}'; this program has 'gelu'", source,
        activation);
  check(!value_of(json, source, "sinusoidal_pos_embds", false),
        "{}: sinusoidal_pos_embds is true; this program has learned positions only", source);

  DistilBertConfig config;
  config.vocabulary = value_of<i64>(json, source, "vocab_size", 0, true);
  config.positions = value_of<i64>(json, source, "max_position_embeddings", 0, true);
  config.dim = value_of<i64>(json, source, "dim", 0, true);
  config.heads = value_of<i64>(json, source, "n_heads", 0, true);
  config.layers = value_of<i64>(json, source, "n_layers", 0, true);
  config.hidden = value_of<i64>(json, source, "hidden_dim", 0, true);
  check(config.dim % config.heads == 0, "{}: {} heads do not divide dim {}", source, config.heads,
        config.dim);
  config.dropout = rate_of(json, source, "dropout", config.dropout);
  config.attention_dropout = rate_of(json, source, "attention_dropout", config.attention_dropout);
  config.classifier_dropout =
      rate_of(json, source, "seq_classif_dropout", config.classifier_dropout);
  config.initializer_range = value_of(json, source, "initializer_range", config.initializer_range);
  config.label_names = label_names_of(json, source);
  config.labels = config.label_names.empty() ? value_of<i64>(json, source, "num_labels", 2)
                                             : static_cast<i64>(config.label_names.size());
  const auto pooling = value_of<std::string>(json, source, "minima_pooling", "first");
  check(pooling == "first" || pooling == "mean",
        "{}: 'minima_pooling' is '{}'; it can be first or mean", source, pooling);
  config.pooling = pooling == "mean" ? Pooling::mean : Pooling::first;
  config.lower_case = value_of(json, source, "minima_lower_case", true);
  return config;
}

Json DistilBertConfig::to_json() const {
  Json names = Json::object(), ids = Json::object();
  for (i64 label = 0; label < labels; ++label) {
    names[std::to_string(label)] = label_name(*this, label);
    ids[label_name(*this, label)] = label;
  }
  return {{"activation", "gelu"},
          {"architectures", {"DistilBertForSequenceClassification"}},
          {"attention_dropout", attention_dropout},
          {"dim", dim},
          {"dropout", dropout},
          {"hidden_dim", hidden},
          {"id2label", names},
          {"initializer_range", initializer_range},
          {"label2id", ids},
          {"max_position_embeddings", positions},
          {"minima_lower_case", lower_case},
          {"minima_pooling", pooling == Pooling::mean ? "mean" : "first"},
          {"model_type", "distilbert"},
          {"n_heads", heads},
          {"n_layers", layers},
          {"pad_token_id", 0},
          {"seq_classif_dropout", classifier_dropout},
          {"sinusoidal_pos_embds", false},
          {"vocab_size", vocabulary}};
}

std::vector<std::string> preset_names() {
  return {"tiny", "small", "medium", "distilbert-base", "distilbert-base-cased"};
}

DistilBertConfig preset(const std::string& name) {
  DistilBertConfig config;  // distilbert-base
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
    check(name == "distilbert-base", "model: no preset named '{}'; there are {}", name,
          fmt::format("{}", fmt::join(preset_names(), ", ")));
  }
  return config;
}

Embeddings::Embeddings(const DistilBertConfig& c)
    : word_embeddings(
          child<Embedding>("word_embeddings", c.vocabulary, c.dim, c.initializer_range, 0)),
      position_embeddings(
          child<Embedding>("position_embeddings", c.positions, c.dim, c.initializer_range)),
      norm(child<LayerNorm>("LayerNorm", c.dim, c.layer_norm_eps)),
      dropout(child<Dropout>("dropout", c.dropout)) {}

Variable Embeddings::operator()(const Batch& batch, const PackedRows& rows,
                                const Pass& pass) const {
  return dropout(norm(add(word_embeddings(batch.tokens), position_embeddings(batch.positions))),
                 rows, pass);
}

DistilBert::DistilBert(const DistilBertConfig& config)
    : embeddings(child<Embeddings>("embeddings", config)) {
  for (i64 i = 0; i < config.layers; ++i)
    layer.push_back(&child<TransformerBlock>(fmt::format("transformer.layer.{}", i), config));
}

Variable DistilBert::operator()(const Batch& batch, const Pass& pass,
                                const Queries* queries) const {
  const PackedRows rows = all_rows(batch);
  Variable x = embeddings(batch, rows, pass);
  for (const TransformerBlock* block : layer)
    x = (*block)(x, rows, pass, block == layer.back() ? queries : nullptr);
  return x;
}

std::vector<Variable> DistilBert::hidden_states(const Batch& batch, const Pass& pass) const {
  const PackedRows rows = all_rows(batch);
  std::vector<Variable> states{embeddings(batch, rows, pass)};
  for (const TransformerBlock* block : layer) states.push_back((*block)(states.back(), rows, pass));
  return states;
}

DistilBertClassifier::DistilBertClassifier(DistilBertConfig c)
    : config(std::move(c)),
      distilbert(child<DistilBert>("distilbert", config)),
      pre_classifier(
          child<Linear>("pre_classifier", config.dim, config.dim, config.initializer_range)),
      classifier(child<Linear>("classifier", config.dim, config.labels, config.initializer_range)),
      dropout(child<Dropout>("dropout", config.classifier_dropout)) {}

Variable DistilBertClassifier::pooled(const Batch& batch, const Pass& pass) const {
  if (config.pooling == Pooling::mean) return mean_pool(distilbert(batch, pass), batch.offsets);
  const Queries queries{batch.offsets.rows(0, batch.texts()), first_rows(batch)};
  return distilbert(batch, pass, &queries);
}

Variable DistilBertClassifier::operator()(const Batch& batch, const Pass& pass) const {
  return classifier(dropout(relu(pre_classifier(pooled(batch, pass))), first_rows(batch), pass));
}

}  // namespace minima::nn
