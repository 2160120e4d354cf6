#include "nn/models/masked_lm.hpp"

#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"

namespace minima::nn {

MaskedLm::MaskedLm(EncoderConfig c)
    : config(std::move(c)),
      encoder(child<Encoder>(config.names().model_type, config)),
      transform(child<Linear>(config.names().lm_transform, config.dim, config.dim,
                              config.initializer_range)),
      norm(child<LayerNorm>(config.names().lm_norm, config.dim, config.layer_norm_eps)),
      bias(param(config.names().lm_bias, {config.vocabulary}, Init::zeros())) {}

Variable MaskedLm::features(const Batch& batch, const Pass& pass) const {
  const Autocast products(pass.precision);
  const Queries queries{batch.chosen, chosen_rows(batch)};
  return norm(gelu(transform(encoder(batch, pass, &queries))));
}

Variable MaskedLm::loss(const Batch& batch, const Pass& pass) const {
  // Backward comes last to what was made first. As arguments these two would be made in an order of the compiler's, which
  // decides over bits where batches are accumulated: the encoder adds to the gradient of the same word embeddings.
  const Variable weight = encoder.embeddings.word_embeddings.weight, bias_of_tokens = bias;
  return linear_cross_entropy(features(batch, pass), weight, bias_of_tokens,
                              batch.labels.to(bias.value.device()));
}

Variable MaskedLm::logits(const Batch& batch, const Pass& pass) const {
  return linear(features(batch, pass), encoder.embeddings.word_embeddings.weight, bias);
}

}  // namespace minima::nn
