/// DistilBERT (Sanh, Debut, Chaumond, Wolf 2019, arXiv:1910.01108): token and position embeddings,
/// then transformer blocks; and its classifier. Parameter names are those of the public
/// checkpoints.
#pragma once

#include "core/json.hpp"
#include "nn/embedding.hpp"
#include "nn/transformer.hpp"

namespace minima::nn {

/// Which row of a text the classifier reads: the first token's (as the public model does), or the
/// mean of all.
enum class Pooling { first, mean };

/// The sizes of a classifier; `to_json` gives the public `config.json`.
struct DistilBertConfig : TransformerOptions {
  i64 vocabulary = 30522, positions = 512, layers = 6, labels = 2;
  double classifier_dropout = 0.2;
  Pooling pooling = Pooling::first;
  std::vector<std::string> label_names;  ///< one per label; empty: LABEL_0, LABEL_1, …
  bool lower_case = true;                ///< whether the vocabulary is of lower-cased text

  /// Throws Error, naming `source` and the key, for a missing or senseless value or another model
  /// type.
  static DistilBertConfig from_json(const Json& json, const std::string& source);
  Json to_json() const;
};

/// A named size. The vocabulary and the labels of what is trained come from the data. Presets: tiny,
/// small, medium, distilbert-base, distilbert-base-cased.
DistilBertConfig preset(const std::string& name);
std::vector<std::string> preset_names();

/// dropout(norm(word + position embeddings)).   batch of T tokens → [T, dim].
/// Parameters: word_embeddings.weight [V, dim], position_embeddings.weight [positions, dim],
/// LayerNorm.{weight,bias} [dim].
class Embeddings : public Module {
 public:
  explicit Embeddings(const DistilBertConfig& config);
  Variable operator()(const Batch& batch, const PackedRows& rows, const Pass& pass) const;
  Embedding &word_embeddings, &position_embeddings;
  LayerNorm& norm;
  Dropout& dropout;
};

/// The encoder.   batch of T tokens → [T, dim], or [Q, dim] where `queries` are given.
class DistilBert : public Module {
 public:
  explicit DistilBert(const DistilBertConfig& config);
  Variable operator()(const Batch& batch, const Pass& pass, const Queries* queries = nullptr) const;
  /// The outputs of the embeddings and of each block, all rows: for inspection and tests.
  std::vector<Variable> hidden_states(const Batch& batch, const Pass& pass) const;
  Embeddings& embeddings;
  std::vector<TransformerBlock*> layer;
};

/// logits = classifier(dropout(relu(pre_classifier(pooled)))).   batch of B texts → [B, labels].
class DistilBertClassifier : public Module {
 public:
  explicit DistilBertClassifier(DistilBertConfig config);
  Variable operator()(const Batch& batch, const Pass& pass = {}) const;
  const DistilBertConfig config;
  DistilBert& distilbert;
  Linear &pre_classifier, &classifier;
  Dropout& dropout;

 private:
  Variable pooled(const Batch& batch, const Pass& pass) const;
};

}  // namespace minima::nn
