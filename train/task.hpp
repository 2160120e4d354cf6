/// A task: labelled texts, tokenized, and the sizes of a classifier for them.
#pragma once

#include <optional>
#include <string>

#include "data/dataset.hpp"
#include "data/tokenizer.hpp"
#include "train/classification.hpp"

namespace minima {

struct TaskOptions {
  std::string data = "builtin";                           ///< see load_dataset
  ReadOptions read = {};                                  ///< its columns, and bad rows
  std::string model = "small";                            ///< a preset, or a config.json
  std::optional<i64> dim{}, layers{}, heads{}, hidden{};  ///< stand over the model's
  std::optional<double> dropout{};                        ///< all three rates
  std::optional<nn::Pooling> pooling{};
  i64 vocabulary = 8000;        ///< entries at most of the vocabulary made from the training texts
  std::string vocab_file = {};  ///< a vocab.txt, tokenizer.json or their folder to take instead
  Casing casing = Casing::uncased;
  i64 max_length = 128;  ///< tokens of a text, [CLS] and [SEP] counted; the rest is cut off
  u64 split_seed = 1;    ///< of the split of a single file
};

struct Task {
  Dataset dataset;
  Tokenizer tokenizer;
  TrainingData data;
  nn::EncoderConfig config;
  std::string model_name;
};

/// Loads, makes the vocabulary, tokenizes. Throws Error for options that do not fit one another,
/// and as load_dataset does.
Task prepare(const TaskOptions& options);

}  // namespace minima
