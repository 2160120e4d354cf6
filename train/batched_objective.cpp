#include "train/batched_objective.hpp"

#include <algorithm>
#include <memory>
#include <optional>

#include "core/copy_ahead.hpp"

namespace minima {
namespace {

class BatchedLoss {
 public:
  BatchedLoss(std::vector<Parameter*> parameters, MakeBatch make, nn::ReplayedLoss::Function loss,
              i64 round_tokens, WeighBatch weigh);

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
  MakeBatch make_;
  nn::ReplayedLoss::Function loss_;
  i64 round_tokens_;
  WeighBatch weigh_;
  std::unique_ptr<CopyAhead> ahead_;  ///< on a GPU, from the first batch on
  std::optional<Begun> begun_;
  std::optional<nn::ReplayedLoss> replayed_;
};

BatchedLoss::BatchedLoss(std::vector<Parameter*> parameters, MakeBatch make,
                         nn::ReplayedLoss::Function loss, i64 round_tokens, WeighBatch weigh)
    : parameters_(std::move(parameters)),
      make_(std::move(make)),
      loss_(std::move(loss)),
      round_tokens_(round_tokens),
      weigh_(std::move(weigh)) {}

BatchLoss BatchedLoss::operator()(std::span<const i64> indices, const nn::Pass& pass) {
  if (device() == Device{}) {
    const Batch batch = make_(indices, pass);
    return {loss_(batch, pass), weigh_(batch), batch.tokens.size()};
  }
  if (!begun_ || begun_->step != pass.step || !std::ranges::equal(begun_->indices, indices))
    begin(indices, pass);
  const Begun now = *std::exchange(begun_, std::nullopt);
  const Tensor numbers = ahead_->take();
  return {replayed_ ? (*replayed_)(now.layout, numbers, pass) : loss_(now.layout.in(numbers), pass),
          now.weight, now.tokens};
}

void BatchedLoss::begin(std::span<const i64> indices, const nn::Pass& pass) {
  if (device() == Device{}) return;
  if (!ahead_) {
    ahead_ = copy_ahead(device());
    if (round_tokens_ > 0) replayed_.emplace(parameters_, loss_);
  }
  Batch batch = make_(indices, pass);
  const i64 tokens = batch.tokens.size();
  const double weight = weigh_(batch);
  if (round_tokens_ > 0) batch = filled_up(batch, round_tokens_);
  const BatchLayout layout(batch);
  ahead_->begin(layout.numbers(batch));
  begun_ = Begun{{indices.begin(), indices.end()}, pass.step, weight, tokens, layout};
}

}  // namespace

double label_count(const Batch& batch) {
  return static_cast<double>(std::max<i64>(1, batch.labels.size()));
}

Objective batched_objective(std::vector<Parameter*> parameters, MakeBatch make,
                            nn::ReplayedLoss::Function loss, i64 round_tokens, WeighBatch weigh) {
  const auto batched = std::make_shared<BatchedLoss>(parameters, std::move(make), std::move(loss),
                                                     round_tokens, std::move(weigh));
  Objective objective;
  objective.parameters = std::move(parameters);
  objective.loss = [batched](std::span<const i64> indices, const nn::Pass& pass) {
    return (*batched)(indices, pass);
  };
  objective.ahead = [batched](std::span<const i64> indices, const nn::Pass& pass) {
    batched->begin(indices, pass);
  };
  return objective;
}

}  // namespace minima
