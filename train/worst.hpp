/// The texts that a classifier gets most wrong, to be read: often the label is what is wrong.
#pragma once

#include "core/files/json_fwd.hpp"
#include "data/batcher.hpp"
#include "data/dataset.hpp"

namespace minima {

struct WrongText {
  std::size_t text;  ///< its place in the split
  i64 actual, predicted;
  double loss;  ///< −log of the probability of the actual class
};

/// The `most` wrong ones of a split by their loss, the largest first. `logits` [texts, labels], as predict gives them.
std::vector<WrongText> worst_errors(const Tensor& logits, const TokenizedSplit& split,
                                    std::size_t most);

/// [{"text", "pair" (where it is one: its second text), "actual", "predicted" (label names), "loss"}]; long texts are cut
/// off.
Json to_json(const std::vector<WrongText>& wrong, const std::vector<Example>& examples,
             const std::vector<std::string>& label_names);

}  // namespace minima
