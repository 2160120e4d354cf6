#include "train/classification.hpp"

#include "autograd/functions.hpp"
#include "core/copy_ahead.hpp"
#include "data/masking.hpp"
#include "nn/replayed_loss.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

/// The loss of a batch of the training texts. For a GPU it is brought there as a whole, beside the work on the one before.
class TrainingLoss {
 public:
  TrainingLoss(nn::Classifier& model, const TokenizedSplit& texts, const TrainingOptions& options,
               const Tokenizer* tokenizer)
      : model_(model),
        texts_(texts),
        tokenizer_(tokenizer),
        word_dropout_(options.word_dropout),
        round_tokens_(options.round_tokens) {}

  BatchLoss operator()(std::span<const i64> indices, const nn::Pass& pass) {
    if (device() == Device{}) {
      const Batch batch = make(indices, pass);
      return {loss(batch, pass), static_cast<double>(batch.texts()), batch.tokens.size()};
    }
    if (!begun_ || begun_->step != pass.step || !std::ranges::equal(begun_->indices, indices))
      begin(indices, pass);
    const Begun now = *std::exchange(begun_, std::nullopt);
    const Tensor numbers = ahead_->take();
    return {
        replayed_ ? (*replayed_)(now.layout, numbers, pass) : loss(now.layout.in(numbers), pass),
        static_cast<double>(indices.size()), now.tokens};
  }

  void begin(std::span<const i64> indices, const nn::Pass& pass) {
    if (device() == Device{}) return;
    if (!ahead_) prepare();
    Batch batch = make(indices, pass);
    const i64 tokens = batch.tokens.size();
    if (round_tokens_ > 0) batch = filled_up(batch, round_tokens_);
    const BatchLayout layout(batch);
    ahead_->begin(layout.numbers(batch));
    begun_ = Begun{{indices.begin(), indices.end()}, pass.step, tokens, layout};
  }

 private:
  struct Begun {
    std::vector<i64> indices;
    i64 step, tokens;  ///< those of the texts alone
    BatchLayout layout;
  };

  Device device() const { return model_.classifier.weight.value.device(); }
  void prepare() {
    ahead_ = copy_ahead(device());
    if (round_tokens_ > 0)
      replayed_.emplace(model_.parameters(), [this](const Batch& batch, const nn::Pass& pass) {
        return loss(batch, pass);
      });
  }
  Batch make(std::span<const i64> indices, const nn::Pass& pass) const {
    const Batch batch = make_batch(texts_, {indices.begin(), indices.end()});
    return word_dropout_ > 0
               ? drop_words(batch, tokenizer_->vocabulary(), word_dropout_, pass.seed, pass.step)
               : batch;
  }
  Variable loss(const Batch& batch, const nn::Pass& pass) const {
    return cross_entropy(model_(batch, pass), batch.labels);
  }

  nn::Classifier& model_;
  const TokenizedSplit& texts_;
  const Tokenizer* tokenizer_;
  double word_dropout_;
  i64 round_tokens_;
  std::unique_ptr<CopyAhead> ahead_;  ///< on a GPU, from the first batch on
  std::optional<Begun> begun_;
  std::optional<nn::ReplayedLoss> replayed_;
};

}  // namespace

Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer) {
  check(tokenizer || options.word_dropout == 0,
        "classification: word dropout needs the tokenizer, whose [MASK] it puts in");
  const auto loss = std::make_shared<TrainingLoss>(model, data.train, options, tokenizer);
  Objective objective{.parameters = model.parameters(),
                      .batches = shuffled(data.train, options.batch, options.seed),
                      .loss = [loss](std::span<const i64> indices,
                                     const nn::Pass& pass) { return (*loss)(indices, pass); },
                      .ahead = [loss](std::span<const i64> indices,
                                      const nn::Pass& pass) { loss->begin(indices, pass); },
                      .evaluate = [&model, &data] { return evaluate(model, data.dev); },
                      .fingerprint = fingerprint({&data.train, &data.dev, &data.test})};
  if (tokenizer)
    objective.save_model = [&, tokenizer](const std::filesystem::path& folder) {
      save_model(folder, *tokenizer, data.train.max_length, model);
    };
  return objective;
}

Tensor predict(const nn::Classifier& model, const TokenizedSplit& split) {
  const NoGrad no_grad;
  Tensor logits = Tensor::empty({split.size(), model.config.labels});
  i64 row = 0;
  for (const std::vector<i64>& indices : batches_in_order(split, evaluation_batch(split))) {
    const i64 end = row + static_cast<i64>(indices.size());
    logits.rows(row, end).copy_from(model(make_batch(split, indices)).value());
    row = end;
  }
  return logits;
}

Evaluation evaluate(const nn::Classifier& model, const TokenizedSplit& split) {
  return evaluate(predict(model, split), split);
}

Evaluation evaluate(const Tensor& logits, const TokenizedSplit& split) {
  const i64 labels = logits.size(1);
  ConfusionMatrix confusion(labels);
  for (i64 i = 0; i < split.size(); ++i) {
    const float* row = logits.data<float>() + i * labels;
    confusion.add(split.labels[static_cast<std::size_t>(i)],
                  std::max_element(row, row + labels) - row);
  }
  const double loss = cross_entropy(logits, Tensor::from(split.labels)).value().item();
  return {std::move(confusion), loss};
}

}  // namespace minima
