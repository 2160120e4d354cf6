/// The encoder of DistilBERT and BERT (nn/models/architecture.hpp): embeddings, then transformer
/// blocks. Parameter names are those of the public checkpoints.
#pragma once

#include "nn/embedding.hpp"
#include "nn/models/config.hpp"

namespace minima::nn {

/// dropout(norm(word + position (+ token type) embeddings)).   batch of T tokens → [T, dim].
/// Parameters: word_embeddings.weight [V, dim], position_embeddings.weight [positions, dim],
/// BERT's token_type_embeddings.weight [token types, dim], LayerNorm.{weight,bias} [dim].
class Embeddings : public Module {
 public:
  explicit Embeddings(const EncoderConfig& config);
  Variable operator()(const Batch& batch, const PackedRows& rows, const Pass& pass) const;
  Embedding &word_embeddings, &position_embeddings;
  Embedding* token_type_embeddings;  ///< null without token types
  LayerNorm& norm;
  Dropout& dropout;
};

/// batch of T tokens → [T, dim], or [Q, dim] where `queries` are given. Throws Error for a config without layers.
class Encoder : public Module {
 public:
  explicit Encoder(const EncoderConfig& config);
  Variable operator()(const Batch& batch, const Pass& pass, const Queries* queries = nullptr) const;
  /// The outputs of the embeddings and of each block, all rows: for inspection and tests.
  std::vector<Variable> hidden_states(const Batch& batch, const Pass& pass) const;
  Embeddings& embeddings;
  std::vector<TransformerBlock*> layer;
};

}  // namespace minima::nn
