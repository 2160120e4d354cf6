/// A model's weights in a checkpoint: which tensor is which parameter.
///
///     const ModelWeights file("some/directory");
///     const WeightMatch match = match_weights(model.parameters(), file, config.names());
///     for (const std::string& note : match.notes()) …        // what was made anew, what is unused
///     read_weights(model.parameters(), file, match);
#pragma once

#include "core/files/model_weights.hpp"
#include "core/parameter.hpp"
#include "nn/models/config.hpp"

namespace minima::nn {

/// The tensor that is a parameter: of the same name, or without the architecture's prefix (files of
/// a bare encoder), or with a layer norm's weight and bias called gamma and beta (old files).
/// Throws Error when two tensors could be it.
std::optional<std::string> find_tensor(const ModelWeights& weights, const std::string& parameter,
                                       const ArchitectureNames& names);

/// The name that a tensor has in a file of the bare encoder, without prefix; none for what is not of the
/// encoder.
std::optional<std::string> bare_name(const std::string& tensor);

struct WeightMatch {
  std::map<std::string, std::string> tensor_of;  ///< by parameter
  std::map<std::string, std::string> anew;  ///< parameters of the head that it does not give: why
  std::vector<std::string> unused;          ///< tensors that the model does not have

  /// Does not take the parameters whose name begins so, though they would fit.
  void make_anew(const std::string& prefix, const std::string& why);
  /// A line for each kind of thing that a user should know; empty when all fits.
  std::vector<std::string> notes() const;
};

/// Throws Error that lists the parameters of the encoder which are missing or have another shape. A
/// head (all outside of embeddings and blocks) may be missing or of another size: it is `anew`.
WeightMatch match_weights(const std::vector<Parameter*>& parameters, const ModelWeights& weights,
                          const ArchitectureNames& names);

/// Reads the parameters' values, one after another; those that are anew stay as they are. Throws Error,
/// naming file, tensor and element, for a value that is not finite.
void read_weights(const std::vector<Parameter*>& parameters, const ModelWeights& weights,
                  const WeightMatch& match);

/// Throws Error unless the sizes of `config` are those of the tensors: to be asked before a model of
/// those sizes is allocated.
void check_sizes(const EncoderConfig& config, const ModelWeights& weights);

}  // namespace minima::nn
