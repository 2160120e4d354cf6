/// Model directories of drawn weights, to be read, converted and trained.
#pragma once

#include "data/dataset.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/data/files.hpp"
#include "tests/nn/small_config.hpp"
#include "tests/support.hpp"
#include "train/model_directory.hpp"

namespace minima::test {

inline std::vector<Example> builtin_examples() { return load_dataset("builtin", 1).train; }

inline Vocabulary builtin_vocabulary(Casing casing) {
  const std::vector<Example> examples = builtin_examples();
  std::vector<std::string_view> texts;
  for (const Example& example : examples) texts.push_back(example.text);
  return train_vocabulary(texts, {.size = 600, .casing = casing});
}

/// A small model with three labels.
inline nn::EncoderConfig drawn_config(nn::Architecture architecture) {
  nn::EncoderConfig config =
      small_config({.positions = 64, .dim = 32, .hidden = 48, .layers = 2, .labels = 3});
  config.architecture = architecture;
  config.initializer_range = 0.2;  // so that attention is far from uniform
  config.label_names = {"one", "two", "three"};
  return config;
}

/// The directory of a model that is not trained; gone with this.
struct DrawnModel {
  explicit DrawnModel(nn::EncoderConfig config, Casing casing = Casing::uncased)
      : vocabulary(builtin_vocabulary(casing)), model([&] {
          config.vocabulary = vocabulary.size();
          config.lower_case = casing == Casing::uncased;
          return config;
        }()) {
    model.initialize(5);
    save_model(path(), Tokenizer(vocabulary, casing), model.config.positions, model);
  }
  explicit DrawnModel(nn::Architecture architecture) : DrawnModel(drawn_config(architecture)) {}
  std::string path() const { return folder.path() + "/model"; }
  Folder folder;
  Vocabulary vocabulary;
  nn::Classifier model;
};

inline const Parameter& named(nn::Classifier& model, const std::string& name) {
  for (const Parameter* parameter : model.parameters())
    if (parameter->name == name) return *parameter;
  FAIL("no parameter ", name);
  std::abort();
}

}  // namespace minima::test
