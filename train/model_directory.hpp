/// A model directory: `config.json` (with the label names), the tokenizer's files, `model.safetensors`
/// or its shards. It is what public libraries read and write too.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/masked_lm.hpp"

namespace minima {

/// What a directory says beside its weights.
struct ModelDirectory {
  std::filesystem::path path;
  nn::EncoderConfig config;
  Tokenizer tokenizer;
  i64 max_length;  ///< tokens of a text: the model's positions, or fewer where the directory says so
};

/// Throws Error, naming file and key, when a file is missing, damaged, or does not fit the others.
ModelDirectory read_model_directory(const std::filesystem::path& path);

/// Throws Error for the folder of a run, whose model lies in `final`.
void refuse_run_folder(const std::filesystem::path& path);

/// A classifier with the weights of a directory. `notes` are lines for the user: which tensors of the
/// head were made anew, and which of the directory's the model does not use.
struct PretrainedClassifier {
  std::unique_ptr<nn::Classifier> model;
  std::vector<std::string> notes;
};

/// The classifier of `config`: the directory's own, or with other labels and rates. What of the head
/// the directory lacks, or has for other labels, is drawn from `seed`. Throws Error, naming file and
/// tensor, unless the directory's encoder is whole and of the sizes in `config`.
PretrainedClassifier pretrained_classifier(const ModelDirectory& directory,
                                           const nn::EncoderConfig& config, u64 seed);

/// The same for a masked language model of directory.config. A note also tells of an output layer with weights of its own,
/// which is not read.
struct PretrainedMaskedLm {
  std::unique_ptr<nn::MaskedLm> model;
  std::vector<std::string> notes;
};
PretrainedMaskedLm pretrained_masked_lm(const ModelDirectory& directory,
                                        const nn::EncoderConfig& config, u64 seed);

/// A classifier with what turns text into its input.
struct TextClassifier {
  Tokenizer tokenizer;
  std::unique_ptr<nn::Classifier> model;
  std::vector<std::string> label_names;
  i64 max_length;
  std::vector<std::string> notes;  ///< as above
};

/// Throws Error as the above, and when the directory has no head.
TextClassifier load_model(const std::filesystem::path& directory);

/// Creates the directory and writes its files, each atomically; to replace those of another model, see
/// core/files/folder.hpp. `max_length` is that of the texts the
/// model learned from, in tokens: read again, the directory cuts texts to it.
void save_model(const std::filesystem::path& directory, const Tokenizer& tokenizer, i64 max_length,
                nn::Classifier& model);
/// The same of a masked language model, as AutoModelForMaskedLM reads it.
void save_model(const std::filesystem::path& directory, const Tokenizer& tokenizer, i64 max_length,
                nn::MaskedLm& model);

}  // namespace minima
