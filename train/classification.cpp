#include "train/classification.hpp"

#include <cmath>
#include <sstream>

#include "autograd/functions.hpp"
#include "core/ops/reduce.hpp"
#include "core/text/grouped.hpp"
#include "data/masking.hpp"
#include "optim/options.hpp"
#include "train/batched_objective.hpp"
#include "train/model_directory.hpp"

namespace minima {

std::vector<double> class_weights(const std::string& text, const TokenizedSplit& train,
                                  i64 labels) {
  std::vector<double> weights;
  if (text.empty()) return weights;
  if (text == "balanced") {
    weights.resize(static_cast<std::size_t>(labels));
    for (const i64 label : train.labels) {
      check(label >= 0 && label < labels, "class-weights: a text has the label {} of {} classes",
            label, labels);
      ++weights[static_cast<std::size_t>(label)];
    }
    for (double& count : weights)
      if (count > 0)
        count = static_cast<double>(train.size()) / (static_cast<double>(labels) * count);
    return weights;
  }
  check(text.find_first_not_of("0123456789.,eE+-") == text.npos && !text.ends_with(','),
        "class-weights is '{}'; it can be balanced, or a number for each class, as they are "
        "numbered: 1,2.5",
        text);
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    weights.push_back(parse_number("class-weights", "weight", part));
    check(weights.back() > 0 && std::isfinite(weights.back()),
          "class-weights: {}; a weight must be positive", part);
  }
  check(std::ssize(weights) == labels,
        "class-weights: '{}' has {} numbers, the texts {} classes; give one for each, as they "
        "are numbered, or balanced",
        text, weights.size(), labels);
  return weights;
}

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
  const std::vector<double> weights =
      class_weights(options.class_weights, data.train, model.config.labels);
  CrossEntropyOptions options_of_loss{.label_smoothing = options.label_smoothing};
  if (!weights.empty())
    options_of_loss.weight =
        Tensor::from(weights).to(DType::f32).to(model.parameters().front()->value.device());
  const auto loss = [&model, options_of_loss](const Batch& batch, const nn::Pass& pass) {
    return cross_entropy(model(batch, pass), batch.labels, options_of_loss);
  };
  // As the op's mean: by the weights of the texts' classes.
  const auto weigh = [weights](const Batch& batch) {
    double sum = 0;
    for (const i64 label : batch.labels.span<i64>())
      sum += weights[static_cast<std::size_t>(label)];
    return sum;
  };
  Objective objective =
      batched_objective(model.parameters(), make, loss, options.round_tokens,
                        weights.empty() ? WeighBatch(label_count) : WeighBatch(weigh));
  objective.batches = shuffled(data.train, options.batch, options.seed);
  objective.evaluate = [&model, &data] { return evaluate(model, data.dev); };
  objective.fingerprints = fingerprints(data);
  if (tokenizer)
    objective.save_model = [&, tokenizer](const std::filesystem::path& folder) {
      save_model(folder, *tokenizer, data.train.max_length, model);
    };
  return objective;
}

Fingerprints fingerprints(const TrainingData& data) {
  return {{"train", fingerprint(data.train)},
          {"dev", fingerprint(data.dev)},
          {"test", fingerprint(data.test)}};
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
  const double loss = cross_entropy(logits, Tensor::from(split.labels)).value().item();
  ConfusionMatrix confusion(logits.size(1));
  const Tensor predicted = ops::argmax(logits, 1);
  for (i64 i = 0; i < split.size(); ++i)
    confusion.add(split.labels[static_cast<std::size_t>(i)], predicted.data<i64>()[i]);
  return {std::move(confusion), without_sign_of_nan(loss)};
}

}  // namespace minima
