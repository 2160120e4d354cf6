#include "nn/models/architecture.hpp"

namespace minima::nn {

const ArchitectureNames& names_of(Architecture architecture) {
  static constexpr ArchitectureNames kDistilBert{
      .model_type = "distilbert",
      .encoder_class = "DistilBertModel",
      .classifier_class = "DistilBertForSequenceClassification",
      .lm_class = "DistilBertForMaskedLM",
      .layers = "transformer.layer",
      .block = {.query = "q_lin",
                .key = "k_lin",
                .value = "v_lin",
                .attention_output = "out_lin",
                .attention_norm = "sa_layer_norm",
                .feed_forward = "ffn",
                .lin1 = "lin1",
                .lin2 = "lin2",
                .output_norm = "output_layer_norm"},
      .pre_classifier = "pre_classifier",
      .lm_transform = "vocab_transform",
      .lm_norm = "vocab_layer_norm",
      .lm_bias = "vocab_projector.bias",
      .lm_weight = "vocab_projector.weight",
      .dim = "dim",
      .heads = "n_heads",
      .layer_count = "n_layers",
      .hidden = "hidden_dim",
      .dropout = "dropout",
      .attention_dropout = "attention_dropout",
      .classifier_dropout = "seq_classif_dropout",
      .activation = "activation"};
  static constexpr ArchitectureNames kBert{.model_type = "bert",
                                           .encoder_class = "BertModel",
                                           .classifier_class = "BertForSequenceClassification",
                                           .lm_class = "BertForMaskedLM",
                                           .layers = "encoder.layer",
                                           .block = {.query = "self.query",
                                                     .key = "self.key",
                                                     .value = "self.value",
                                                     .attention_output = "output.dense",
                                                     .attention_norm = "attention.output.LayerNorm",
                                                     .feed_forward = "",
                                                     .lin1 = "intermediate.dense",
                                                     .lin2 = "output.dense",
                                                     .output_norm = "output.LayerNorm"},
                                           .pre_classifier = "bert.pooler.dense",
                                           .lm_transform = "cls.predictions.transform.dense",
                                           .lm_norm = "cls.predictions.transform.LayerNorm",
                                           .lm_bias = "cls.predictions.bias",
                                           .lm_weight = "cls.predictions.decoder.weight",
                                           .dim = "hidden_size",
                                           .heads = "num_attention_heads",
                                           .layer_count = "num_hidden_layers",
                                           .hidden = "intermediate_size",
                                           .dropout = "hidden_dropout_prob",
                                           .attention_dropout = "attention_probs_dropout_prob",
                                           .classifier_dropout = "classifier_dropout",
                                           .activation = "hidden_act"};
  switch (architecture) {  // a warning tells of one that has no names here
    case Architecture::bert:
      return kBert;
    case Architecture::distilbert:
      break;
  }
  return kDistilBert;
}

}  // namespace minima::nn
