/// A task: labelled texts, tokenized, and the sizes of a classifier for them.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "data/dataset.hpp"
#include "data/repeated_texts.hpp"
#include "data/tokenizer.hpp"
#include "train/classification.hpp"
#include "train/model_directory.hpp"

namespace minima {

struct TaskOptions {
  std::string data = "builtin";  ///< see load_dataset
  ReadOptions read = {};         ///< its columns, and bad rows
  SplitFiles apart = {};         ///< of dev and test
  /// A preset or a config.json: trained from scratch. Or a model directory: fine-tuned, with its
  /// sizes, its tokenizer and, unless given here, its greatest length.
  std::string model = "small";
  std::optional<i64> dim{}, layers{}, heads{}, hidden{};  ///< stand over the model's
  std::optional<double> dropout{};                        ///< all three rates
  std::optional<nn::Pooling> pooling{};
  /// Entries at most of the vocabulary made from the training texts; 8000 where none is given.
  std::optional<i64> vocabulary{};
  std::string vocab_file = {};  ///< a vocab.txt, tokenizer.json or their folder to take instead
  /// From scratch; where none is given a tokenizer.json or a folder decides, else the model.
  std::optional<Casing> casing{};
  /// Tokens of a text, [CLS] and [SEP] counted; the rest is cut off. From scratch: 128.
  std::optional<i64> max_length{};
  u64 split_seed = 1;  ///< of the split of a single file
  Device device = {};  ///< where models are made and trained
};

struct Task {
  Dataset dataset;
  Tokenizer tokenizer;
  TrainingData data;
  nn::EncoderConfig config;
  std::string model_name;                      ///< a preset, or a whole path
  std::optional<ModelDirectory> pretrained{};  ///< what the model starts from; none: from scratch
  std::vector<std::string> notes{};            ///< as in PretrainedClassifier
  i64 max_length = 0;                          ///< to which texts were cut
  Device device{};
  /// The share of [UNK] among the tokens of the training texts, [CLS] and [SEP] not counted.
  double unknown = 0;
  Overlaps overlaps{};  ///< of the splits

  /// A model with the weights that training starts from: the directory's, or drawn from `seed`.
  std::unique_ptr<nn::Classifier> new_model(u64 seed) const;
};

/// Whether `model`, as in TaskOptions, is a preset; and whether it is a directory to be fine-tuned, which a folder with the
/// name of a preset is not.
bool is_preset(const std::string& model);
bool is_pretrained(const std::string& model);

/// Loads, makes the vocabulary, tokenizes. Throws Error for options that do not fit one another,
/// and as load_dataset does. `loaded` is called before the vocabulary is made. A directory's head that has the data's classes
/// in another order numbers them.
Task prepare(const TaskOptions& options,
             const std::function<void(const Dataset& dataset)>& loaded = {});
/// The same of texts that are loaded already. Plain ones, for a language model, are cut in pieces, nothing of
/// them off, and a directory's weights are not read: `notes` is empty.
Task prepare(const TaskOptions& options, Dataset dataset, Texts texts = Texts::labelled);

}  // namespace minima
