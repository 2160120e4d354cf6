/// A model for tests of whole models.
#pragma once

#include "nn/models/config.hpp"

namespace minima::test {

/// Of another width everywhere, so that no size hides behind another.
inline nn::EncoderConfig small_config() {
  nn::EncoderConfig config;
  config.dim = 24;
  config.layers = 3;
  config.heads = 4;
  config.hidden = 40;
  config.vocabulary = 300;
  config.positions = 40;
  config.labels = 5;
  return config;
}

}  // namespace minima::test
