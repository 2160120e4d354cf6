// Any bytes as a config.json: what is accepted has sizes that make sense, and survives being written.
#include "nn/models/config.hpp"

#include "tests/fuzz/fuzz.hpp"

void minima::fuzz(std::string_view input) {
  const nn::EncoderConfig config =
      nn::EncoderConfig::from_json(parse_json(input, "config.json"), "config.json");
  require(config.dim > 0 && config.heads > 0 && config.dim % config.heads == 0, "heads divide dim");
  require(config.labels > 0 &&
              (config.label_names.empty() || std::ssize(config.label_names) == config.labels),
          "a name for each label");
  for (const double rate : {config.dropout, config.attention_dropout, config.classifier_dropout})
    require(rate >= 0 && rate < 1, "a dropout rate");
  if (config.labels > 1000) return;  // its names would be written one by one
  const Json json = config.to_json();
  require(nn::EncoderConfig::from_json(json, "config.json").to_json() == json, "a config survives");
}
