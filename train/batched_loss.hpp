/// BatchedLoss: the loss of batches that are made on the host, as an Objective wants it.
///
/// For a GPU a batch is brought there as a whole, beside the work on the one before; and where batches are filled up to
/// repeating shapes, forward and backward of one that has come before are replayed (nn/replayed_loss.hpp).
#pragma once

#include <memory>
#include <optional>

#include "core/copy_ahead.hpp"
#include "nn/replayed_loss.hpp"
#include "train/objective.hpp"

namespace minima {

class BatchedLoss {
 public:
  using Make = std::function<Batch(std::span<const i64> indices, const nn::Pass& pass)>;
  using Loss = nn::ReplayedLoss::Function;

  /// `make` gives a batch on the host; its labels are what the mean of `loss` is over. `round_tokens` as in TrainingOptions.
  /// The parameters must outlive this.
  BatchedLoss(std::vector<Parameter*> parameters, Make make, Loss loss, i64 round_tokens);

  BatchLoss operator()(std::span<const i64> indices, const nn::Pass& pass);
  /// Begins to bring the next batch to a GPU.
  void begin(std::span<const i64> indices, const nn::Pass& pass);

 private:
  struct Begun {
    std::vector<i64> indices;
    i64 step;
    double weight;
    i64 tokens;  ///< those of the texts alone
    BatchLayout layout;
  };

  Device device() const { return parameters_.front()->value.device(); }

  std::vector<Parameter*> parameters_;
  Make make_;
  Loss loss_;
  i64 round_tokens_;
  std::unique_ptr<CopyAhead> ahead_;  ///< on a GPU, from the first batch on
  std::optional<Begun> begun_;
  std::optional<nn::ReplayedLoss> replayed_;
};

/// An objective of these parameters whose `loss` and `ahead` are those of a BatchedLoss.
Objective batched_objective(std::vector<Parameter*> parameters, BatchedLoss::Make make,
                            BatchedLoss::Loss loss, i64 round_tokens);

}  // namespace minima
