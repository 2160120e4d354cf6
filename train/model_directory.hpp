/// A model directory: `config.json` (with the label names), `vocab.txt`, `model.safetensors`. It is
/// what public libraries read and write too.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.hpp"
#include "nn/models/classifier.hpp"

namespace minima {

/// A classifier with what turns text into its input.
struct TextClassifier {
  Tokenizer tokenizer;
  std::unique_ptr<nn::Classifier> model;
  std::vector<std::string> label_names;
};

/// Throws Error, naming file and key or tensor, when a file is missing, damaged, or does not fit
/// the others.
TextClassifier load_model(const std::filesystem::path& directory);

/// Creates the directory and writes the three files, each atomically.
void save_model(const std::filesystem::path& directory, const Vocabulary& vocabulary,
                nn::Classifier& model);

}  // namespace minima
