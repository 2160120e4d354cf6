#include "train/classification.hpp"

#include <xxhash.h>

#include "autograd/functions.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

/// Tokens that an evaluation holds at once: enough to keep the cores busy, little enough to stay in
/// cache.
constexpr i64 kEvaluationTokens = 2048;

BatchSize evaluation_batch(const TokenizedSplit& split) {
  i64 longest = 0;
  for (i64 i = 0; i < split.size(); ++i) longest = std::max(longest, split.length(i));
  return BatchSize::of_tokens(std::max(kEvaluationTokens, longest));
}

/// Of every token, length and label.
std::string fingerprint(const TrainingData& data) {
  u64 hash = 0;
  const auto add = [&](const auto& values) {
    std::vector<i64> copy(values.size());
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = static_cast<i64>(values[i]);
    hash = XXH3_64bits_withSeed(copy.data(), copy.size() * sizeof(i64), hash);
  };
  for (const TokenizedSplit* split : {&data.train, &data.dev}) {
    add(split->tokens);
    add(split->offsets);
    add(split->labels);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

Batches shuffled(const TokenizedSplit& split, BatchSize size, u64 seed) {
  return [&split, size, seed](i64 epoch) { return epoch_batches(split, size, seed, epoch); };
}

Objective classification(nn::Classifier& model, const TrainingData& data,
                         const TrainingOptions& options, const Tokenizer* tokenizer) {
  Objective objective{
      .parameters = model.parameters(),
      .batches = shuffled(data.train, options.batch, options.seed),
      .loss =
          [&](std::span<const i64> indices, const nn::Pass& pass) {
            const Batch batch = make_batch(data.train, {indices.begin(), indices.end()});
            return BatchLoss{cross_entropy(model(batch, pass), batch.labels),
                             static_cast<double>(batch.texts()), batch.tokens.size()};
          },
      .evaluate = [&] { return evaluate(model, data.dev); },
      .fingerprint = fingerprint(data)};
  if (tokenizer)
    objective.save_model = [&model, tokenizer](const std::filesystem::path& folder) {
      save_model(folder, *tokenizer, model);
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
  const Tensor logits = predict(model, split);
  const i64 labels = model.config.labels;
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
