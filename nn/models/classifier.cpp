#include "nn/models/classifier.hpp"

#include "autograd/autocast.hpp"
#include "autograd/functions.hpp"

namespace minima::nn {

Classifier::Classifier(EncoderConfig c)
    : config(std::move(c)),
      encoder(child<Encoder>(config.names().model_type, config)),
      pre_classifier(child<Linear>(config.names().pre_classifier, config.dim, config.dim,
                                   config.initializer_range)),
      classifier(child<Linear>("classifier", config.dim, config.labels, config.initializer_range)),
      dropout(child<Dropout>("dropout", config.classifier_dropout)) {}

Variable Classifier::pooled(const Batch& batch, const Pass& pass) const {
  if (config.pooling == Pooling::mean)
    return mean_pool(encoder(batch, pass), batch.offsets.to(classifier.weight.value.device()));
  const Queries queries{batch.offsets.rows(0, batch.texts()), first_rows(batch)};
  return encoder(batch, pass, &queries);
}

Variable Classifier::features(const Batch& batch, const Pass& pass) const {
  const Autocast products(pass.precision);
  const Variable x = pre_classifier(pooled(batch, pass));
  return config.architecture == Architecture::bert ? tanh(x) : relu(x);
}

Variable Classifier::operator()(const Batch& batch, const Pass& pass) const {
  const Autocast products(pass.precision);
  const PackedRows rows = first_rows(batch).to(classifier.weight.value.device());
  return classifier(dropout(features(batch, pass), rows, pass));
}

}  // namespace minima::nn
