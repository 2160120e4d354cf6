#include "nn/models/masked_lm.hpp"

#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"

namespace minima::nn {
namespace {

/// The chosen rows of a batch, ascending, described as attention and dropout want it.
PackedRows chosen_rows(const Batch& batch, const Tensor& rows) {
  const PackedRows all = all_rows(batch);
  const auto chosen = rows.span<i64>();
  const i64 n = rows.size();
  Tensor offsets = Tensor::empty({batch.texts() + 1}, DType::i64);
  for (i64 text = 0; text <= batch.texts(); ++text)
    offsets.data<i64>()[text] =
        std::ranges::lower_bound(chosen, batch.offsets.data<i64>()[text]) - chosen.begin();
  Tensor positions = Tensor::empty({n}, DType::i64), row_example = Tensor::empty({n}, DType::i64);
  for (i64 i = 0; i < n; ++i) {
    positions.data<i64>()[i] = all.positions.data<i64>()[rows.data<i64>()[i]];
    row_example.data<i64>()[i] = all.row_example.data<i64>()[rows.data<i64>()[i]];
  }
  return {std::move(offsets), batch.example_id, std::move(positions), std::move(row_example)};
}

}  // namespace

MaskedLm::MaskedLm(EncoderConfig c)
    : config(std::move(c)),
      encoder(child<Encoder>(config.names().model_type, config)),
      transform(child<Linear>(config.names().lm_transform, config.dim, config.dim,
                              config.initializer_range)),
      norm(child<LayerNorm>(config.names().lm_norm, config.dim, config.layer_norm_eps)),
      bias(param(config.names().lm_bias, {config.vocabulary}, Init::zeros())) {}

Variable MaskedLm::features(const Batch& batch, const Tensor& rows, const Pass& pass) const {
  const Autocast products(pass.precision);
  const Queries queries{rows, chosen_rows(batch, rows)};
  return norm(gelu(transform(encoder(batch, pass, &queries))));
}

Variable MaskedLm::loss(const Batch& batch, const Tensor& rows, const Tensor& targets,
                        const Pass& pass) const {
  return linear_cross_entropy(features(batch, rows, pass),
                              encoder.embeddings.word_embeddings.weight, bias,
                              targets.to(bias.value.device()));
}

Variable MaskedLm::logits(const Batch& batch, const Tensor& rows, const Pass& pass) const {
  return linear(features(batch, rows, pass), encoder.embeddings.word_embeddings.weight, bias);
}

}  // namespace minima::nn
