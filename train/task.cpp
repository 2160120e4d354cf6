#include "train/task.hpp"

#include <filesystem>

#include "data/tokenizer_files.hpp"
#include "data/vocabulary_training.hpp"

namespace minima {
namespace {

nn::EncoderConfig model_config(const TaskOptions& options) {
  nn::EncoderConfig config =
      options.model.ends_with(".json")
          ? nn::EncoderConfig::from_json(read_json(options.model), options.model)
          : nn::preset(options.model);
  const auto set = [](i64& size, const std::optional<i64>& wish, const char* name, i64 most) {
    size = wish.value_or(size);
    check(size > 0 && size <= most, "model: {} is {}, out of the range from 1 to {}", name, size,
          most);
  };
  set(config.dim, options.dim, "dim", 1 << 16);
  set(config.layers, options.layers, "layers", 1000);
  set(config.heads, options.heads, "heads", 1 << 16);
  set(config.hidden, options.hidden, "hidden", 1 << 18);
  if (options.dropout)
    config.dropout = config.attention_dropout = config.classifier_dropout = *options.dropout;
  if (options.pooling) config.pooling = *options.pooling;
  check(config.dropout >= 0 && config.dropout < 1,
        "model: dropout is {}; it must be at least 0 and below 1", config.dropout);
  check(config.dim % config.heads == 0, "model: {} heads do not divide dim {}", config.heads,
        config.dim);
  config.positions = std::max(config.positions, options.max_length);
  return config;
}

Tokenizer tokenizer_for(const TaskOptions& options, const Dataset& dataset) {
  if (!options.vocab_file.empty()) return read_tokenizer(options.vocab_file, options.casing);
  std::vector<std::string_view> texts;
  for (const Example& example : dataset.train) texts.push_back(example.text);
  return Tokenizer(train_vocabulary(texts, {.size = options.vocabulary, .casing = options.casing}),
                   options.casing);
}

}  // namespace

Task prepare(const TaskOptions& options) {
  check(options.max_length >= 2 && options.max_length <= 4096,
        "max-length is {}; it must lie between 2 and 4096", options.max_length);
  nn::EncoderConfig config = model_config(options);
  Dataset dataset = load_dataset(options.data, options.split_seed, options.read);
  Tokenizer tokenizer = tokenizer_for(options, dataset);
  TrainingData data{tokenize(tokenizer, dataset.train, options.max_length),
                    tokenize(tokenizer, dataset.dev, options.max_length),
                    tokenize(tokenizer, dataset.test, options.max_length)};
  config.lower_case = tokenizer.normalization().lowercase;
  config.vocabulary = tokenizer.vocabulary().size();
  config.labels = static_cast<i64>(dataset.label_names.size());
  config.label_names = dataset.label_names;
  return {std::move(dataset), std::move(tokenizer), std::move(data), std::move(config),
          options.model};
}

}  // namespace minima
