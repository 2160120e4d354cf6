/// What is trained, as the loop sees it: parameters, batches of indices, and a loss for each batch. Any model
/// and any task will do: classification (train/classification.hpp), masked words, regression, …
///
///     Objective line{.parameters = {&w, &b},
///                    .batches = [](i64 epoch) { return std::vector<std::vector<i64>>{{0, 1}, {2, 3}}; },
///                    .loss = [&](std::span<const i64> batch, const nn::Pass&) {
///                      return BatchLoss{squared_error(batch), 2};
///                    }};
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "autograd/variable.hpp"
#include "nn/pass.hpp"
#include "train/metrics.hpp"

namespace minima {

/// The mean loss over a batch's items (texts, or masked words), and how many those were: batches that are
/// accumulated count by their weights, so that the step is that of one large batch.
struct BatchLoss {
  Variable loss;
  double weight = 1;
  i64 tokens = 0;  ///< read, for the rate that is shown
};

/// The batches of an epoch (from 0), each a list of indices. The same epoch always gives the same list: that is
/// all a sampler has to keep for training to go on where it stopped.
using Batches = std::function<std::vector<std::vector<i64>>(i64 epoch)>;

/// Of parts of what is trained and evaluated on, "train" say, what differs where they differ.
using Fingerprints = std::map<std::string, std::string>;

struct Objective {
  std::vector<Parameter*> parameters;
  Batches batches;
  /// Runs the model forward. What is random in it must follow from `pass` and the indices alone.
  std::function<BatchLoss(std::span<const i64> batch, const nn::Pass& pass)> loss;
  /// Told, while the device may still be at one batch, which is the next, and its pass: time to bring it there. May be
  /// empty.
  std::function<void(std::span<const i64> batch, const nn::Pass& pass)> ahead = {};
  /// How good the model is by now; without one there is no best model and no early stopping. The score by which the best is
  /// chosen, TrainingOptions::metric, must be among its scores: where there are no classes "loss", or one of `extra`.
  std::function<Evaluation()> evaluate = {};
  /// Writes a model directory with the parameters' present values, for a checkpoint; without one, model.safetensors alone.
  std::function<void(const std::filesystem::path& folder)> save_model = {};
  Fingerprints fingerprints = {};  ///< of the data: a resumed run must see the same
};

}  // namespace minima
