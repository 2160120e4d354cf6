/// The sizes of an encoder and its classifier: what `config.json` says.
#pragma once

#include "core/error.hpp"
#include "core/files/json.hpp"
#include "nn/models/architecture.hpp"

namespace minima::nn {

/// Which row of a text the classifier reads: the first token's (as the public models do), or the
/// mean of all.
enum class Pooling { first, mean };

/// A model of a type that is none of these (Architecture).
struct UnknownArchitecture : Error {
  using Error::Error;
};

struct EncoderConfig : TransformerOptions {
  Architecture architecture = Architecture::distilbert;
  i64 vocabulary = 30522, positions = 512, layers = 6, labels = 2;
  i64 token_types = 2;               ///< BERT only
  std::optional<i64> pad_token = 0;  ///< the token whose embedding gets no gradient
  double classifier_dropout = 0.2;
  Pooling pooling = Pooling::first;
  std::vector<std::string> label_names;  ///< one per label; empty: LABEL_0, LABEL_1, …
  bool lower_case = true;                ///< whether the vocabulary is of lower-cased text
  bool pairs = false;                    ///< whether it has learned from pairs of texts

  /// Throws Error, naming `source` and the key, for a missing or senseless value, or a variant of a model that is not here;
  /// UnknownArchitecture for another model type.
  static EncoderConfig from_json(const Json& json, const std::string& source);
  Json to_json() const;
  /// That of a masked language model of these sizes, which has no classes.
  Json masked_lm_json() const;

  /// Why the public library, which reads all that is written here, would give other logits; empty
  /// when it gives the same.
  std::string export_warning() const;

  /// One per label: label_names, or LABEL_0, LABEL_1, …
  std::vector<std::string> names_of_labels() const;
  /// Throws Error, naming `model`, where it cannot tell the two texts of a pair apart.
  void check_pairs(const std::string& model) const;

  const ArchitectureNames& names() const { return names_of(architecture); }
};

/// Takes out of a config.json what is said of a classifier's classes, where the weights have none: their
/// names and number, and the warning about how it reads a text.
void erase_classes(Json& config);

/// A named size. The vocabulary and the labels of what is trained come from the data. Presets: tiny,
/// small, medium, distilbert-base, distilbert-base-cased.
EncoderConfig preset(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace minima::nn
