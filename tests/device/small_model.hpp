/// A classifier and batches for it.
#pragma once

#include "core/batch.hpp"
#include "tests/nn/small_config.hpp"

namespace minima::test {

inline nn::EncoderConfig small_model(nn::Pooling pooling) {
  nn::EncoderConfig config = small_config(
      {.vocabulary = 50, .positions = 64, .dim = 32, .hidden = 48, .layers = 2, .labels = 3});
  config.dropout = config.attention_dropout = config.classifier_dropout = 0.1;
  config.initializer_range = 0.2;
  config.pooling = pooling;
  return config;
}

inline Batch texts(const std::vector<i64>& lengths) {
  std::vector<i64> tokens, positions, offsets{0}, examples, labels;
  for (std::size_t text = 0; text < lengths.size(); ++text) {
    for (i64 i = 0; i < lengths[text]; ++i) {
      tokens.push_back((std::ssize(tokens) * 7 + i * i * 3) % 50);
      positions.push_back(i);
    }
    offsets.push_back(std::ssize(tokens));
    examples.push_back(static_cast<i64>(text) + 5);
    labels.push_back(static_cast<i64>(text) % 3);
  }
  return {Tensor::from(tokens), Tensor::from(positions), Tensor::from(offsets),
          Tensor::from(examples), Tensor::from(labels)};
}

}  // namespace minima::test
