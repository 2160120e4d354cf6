/// The architectures whose public checkpoints can be read and written. They are one encoder: token
/// and position embeddings, then transformer blocks (nn/transformer.hpp). They differ in
///
///                        DistilBERT                        BERT, MiniLM
///     token types        none                              an embedding of them
///     dropout            not behind attention              behind attention, too
///     before the classes relu of `pre_classifier`          tanh of `bert.pooler.dense`
///
/// and in what their files call each part: that is the table `names_of`.
///
/// DistilBERT: Sanh, Debut, Chaumond, Wolf 2019, arXiv:1910.01108. BERT: Devlin, Chang, Lee,
/// Toutanova 2018, arXiv:1810.04805.
#pragma once

#include "nn/transformer.hpp"

namespace minima::nn {

enum class Architecture { distilbert, bert };
inline constexpr Architecture kArchitectures[] = {Architecture::distilbert, Architecture::bert};

struct ArchitectureNames {
  /// `model_type` in config.json; also what stands before the encoder's parameters.
  const char* model_type;
  /// The classes of the public library that read the bare encoder, a classifier, and a masked language
  /// model.
  const char *encoder_class, *classifier_class, *lm_class;

  // ---- parameters
  const char* layers;  ///< of the encoder: the block i is `<layers>.i`
  BlockNames block;
  const char* pre_classifier;
  const char *lm_transform, *lm_norm, *lm_bias;  ///< of the masked language model's head
  const char* lm_weight;  ///< of its output layer, where a checkpoint has it beside the embeddings

  // ---- keys of config.json
  const char *dim, *heads, *layer_count, *hidden;
  const char *dropout, *attention_dropout, *classifier_dropout, *activation;
};

const ArchitectureNames& names_of(Architecture architecture);

}  // namespace minima::nn
