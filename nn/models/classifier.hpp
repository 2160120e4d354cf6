/// A classifier of texts: an encoder and a head of two layers.
#pragma once

#include "nn/models/encoder.hpp"

namespace minima::nn {

/// logits = classifier(dropout(f(pre_classifier(pooled)))).   batch of B texts → [B, labels].
/// f is relu in DistilBERT, tanh in BERT, which calls pre_classifier its encoder's pooler.
class Classifier : public Module {
 public:
  explicit Classifier(EncoderConfig config);
  Variable operator()(const Batch& batch, const Pass& pass = {}) const;
  /// f(pre_classifier(pooled)): [B, dim].
  Variable features(const Batch& batch, const Pass& pass = {}) const;
  const EncoderConfig config;
  Encoder& encoder;
  Linear &pre_classifier, &classifier;
  Dropout& dropout;

 private:
  Variable pooled(const Batch& batch, const Pass& pass) const;
};

}  // namespace minima::nn
