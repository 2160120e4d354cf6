#include "train/classification.hpp"

#include "autograd/functions.hpp"
#include "core/grouped.hpp"
#include "data/masking.hpp"
#include "train/batched_objective.hpp"
#include "train/model_directory.hpp"

namespace minima {
Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer) {
  check(tokenizer || options.word_dropout == 0,
        "classification: word dropout needs the tokenizer, whose [MASK] it puts in");
  const auto make = [&texts = data.train, rate = options.word_dropout, tokenizer](
                        std::span<const i64> indices, const nn::Pass& pass) {
    const Batch batch = make_batch(texts, {indices.begin(), indices.end()});
    return rate > 0 ? drop_words(batch, tokenizer->vocabulary(), rate, pass.seed, pass.step)
                    : batch;
  };
  const auto loss = [&model](const Batch& batch, const nn::Pass& pass) {
    return cross_entropy(model(batch, pass), batch.labels);
  };
  Objective objective = batched_objective(model.parameters(), make, loss, options.round_tokens);
  objective.batches = shuffled(data.train, options.batch, options.seed);
  objective.evaluate = [&model, &data] { return evaluate(model, data.dev); };
  objective.fingerprint = fingerprint({&data.train, &data.dev, &data.test});
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
  return {std::move(confusion), without_sign_of_nan(loss)};
}

}  // namespace minima
