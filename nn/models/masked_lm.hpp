/// A masked language model: an encoder, and a head that tells which token stood at a hidden place.
#pragma once

#include "nn/models/encoder.hpp"

namespace minima::nn {

/// logits = norm(gelu(transform(x))) Wᵀ + bias, W the encoder's word embeddings: tied, as in the
/// public checkpoints.   Parameters beside the encoder's: transform.{weight [dim, dim], bias},
/// norm.{weight, bias}, bias [V].
class MaskedLm : public Module {
 public:
  explicit MaskedLm(EncoderConfig config);

  /// The mean cross-entropy of the batch's labels [M] at its chosen tokens [M]; those of label −100 do not count. Nothing
  /// else of the last block, nor of the logits, is computed.
  Variable loss(const Batch& batch, const Pass& pass) const;
  /// Of the chosen tokens: [M, V].
  Variable logits(const Batch& batch, const Pass& pass = {}) const;

  const EncoderConfig config;
  Encoder& encoder;
  Linear& transform;
  LayerNorm& norm;
  Parameter& bias;

 private:
  Variable features(const Batch& batch, const Pass& pass) const;
};

}  // namespace minima::nn
