#include "nn/models/encoder.hpp"

#include "autograd/autocast.hpp"
#include "autograd/checkpoint.hpp"
#include "autograd/functions.hpp"

namespace minima::nn {

Embeddings::Embeddings(const EncoderConfig& c)
    : word_embeddings(child<Embedding>("word_embeddings", c.vocabulary, c.dim, c.initializer_range,
                                       c.pad_token)),
      position_embeddings(
          child<Embedding>("position_embeddings", c.positions, c.dim, c.initializer_range)),
      token_type_embeddings(c.architecture == Architecture::bert
                                ? &child<Embedding>("token_type_embeddings", c.token_types, c.dim,
                                                    c.initializer_range)
                                : nullptr),
      norm(child<LayerNorm>("LayerNorm", c.dim, c.layer_norm_eps)),
      dropout(child<Dropout>("dropout", c.dropout)) {}

Variable Embeddings::operator()(const Batch& batch, const PackedRows& rows,
                                const Pass& pass) const {
  Variable sum = add(word_embeddings(batch.tokens), position_embeddings(batch.positions));
  if (token_type_embeddings)
    sum = add(sum, (*token_type_embeddings)(batch.token_types.defined()
                                                ? batch.token_types
                                                : Tensor::zeros(batch.tokens.shape(), DType::i64,
                                                                batch.tokens.device())));
  return dropout(norm(sum), rows, pass);
}

Encoder::Encoder(const EncoderConfig& config)
    : embeddings(child<Embeddings>("embeddings", config)) {
  check(config.layers >= 1, "encoder: {} layers; it needs at least one", config.layers);
  const ArchitectureNames& names = config.names();
  for (i64 i = 0; i < config.layers; ++i)
    layer.push_back(
        &child<TransformerBlock>(fmt::format("{}.{}", names.layers, i), config, names.block));
}

Variable Encoder::operator()(const Batch& batch, const Pass& pass, const Queries* queries) const {
  const Autocast products(pass.precision);
  const Device device = embeddings.word_embeddings.weight.value.device();
  const PackedRows rows = all_rows(batch).to(device);
  Variable x = embeddings(batch, rows, pass);
  for (const TransformerBlock* block : layer) {
    const auto asked =
        block == layer.back() && queries
            ? std::optional(Queries{queries->index.to(device), queries->rows.to(device)})
            : std::nullopt;
    const auto run = [=](const Variable& in) {
      return (*block)(in, rows, pass, asked ? &*asked : nullptr);
    };
    x = pass.checkpoint_layers ? checkpoint(run, x) : run(x);
  }
  return x;
}

std::vector<Variable> Encoder::hidden_states(const Batch& batch, const Pass& pass) const {
  const Autocast products(pass.precision);
  const PackedRows rows = all_rows(batch).to(embeddings.word_embeddings.weight.value.device());
  std::vector<Variable> states{embeddings(batch, rows, pass)};
  for (const TransformerBlock* block : layer) states.push_back((*block)(states.back(), rows, pass));
  return states;
}

}  // namespace minima::nn
