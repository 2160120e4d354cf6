/// A model for tests of whole models.
#pragma once

#include "nn/models/config.hpp"

namespace minima::test {

/// Of another width everywhere, so that no size hides behind another.
struct Sizes {
  i64 vocabulary = 300, positions = 40, dim = 24, heads = 4, hidden = 40, layers = 3, labels = 5;
};

inline nn::EncoderConfig small_config(const Sizes& sizes = {}) {
  nn::EncoderConfig config;
  config.vocabulary = sizes.vocabulary;
  config.positions = sizes.positions;
  config.dim = sizes.dim;
  config.heads = sizes.heads;
  config.hidden = sizes.hidden;
  config.layers = sizes.layers;
  config.labels = sizes.labels;
  return config;
}

}  // namespace minima::test
