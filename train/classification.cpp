#include "train/classification.hpp"

#include "autograd/functions.hpp"
#include "data/masking.hpp"
#include "train/model_directory.hpp"

namespace minima {
Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer) {
  check(tokenizer || options.word_dropout == 0,
        "classification: word dropout needs the tokenizer, whose [MASK] it puts in");
  Objective objective{
      .parameters = model.parameters(),
      .batches = shuffled(data.train, options.batch, options.seed),
      .loss =
          [&model, &data, tokenizer, rate = options.word_dropout](std::span<const i64> indices,
                                                                  const nn::Pass& pass) {
            Batch batch = make_batch(data.train, {indices.begin(), indices.end()});
            if (rate > 0)
              batch = drop_words(batch, tokenizer->vocabulary(), rate, pass.seed, pass.step);
            const Variable logits = model(batch, pass);
            return BatchLoss{cross_entropy(logits, batch.labels.to(logits.value().device())),
                             static_cast<double>(batch.texts()), batch.tokens.size()};
          },
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
