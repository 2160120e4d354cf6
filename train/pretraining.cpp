#include "train/pretraining.hpp"

#include <cmath>

#include "core/ops/cross_entropy.hpp"
#include "core/ops/reduce.hpp"
#include "core/text/grouped.hpp"
#include "train/batched_objective.hpp"
#include "train/model_directory.hpp"
#include "train/splits.hpp"

namespace minima {
namespace {

/// Whether a language model has anything to tell in these texts.
bool has_words(const TokenizedSplit& split, const Masking& masking) {
  for (i64 i = 0; i < split.tokens.size(); ++i)
    if (masking.may_hide(split.tokens[i])) return true;
  return false;
}

}  // namespace

Objective masked_language_modelling(nn::MaskedLm& model, const PretrainingData& data,
                                    const Masking& masking, const TrainingOptions& options,
                                    const Tokenizer* tokenizer) {
  check(has_words(data.train, masking),
        "pre-training: the {} training texts have no token to hide: all of their words are unknown "
        "to the vocabulary; take one of such texts, in their language and casing",
        data.train.size());
  const auto make = [&](std::span<const i64> indices, const nn::Pass& pass) {
    return masking(make_batch(data.train, {indices.begin(), indices.end()}), pass.step);
  };
  const auto loss = [&](const Batch& batch, const nn::Pass& pass) {
    return model.loss(batch, pass);
  };
  Objective objective = batched_objective(model.parameters(), make, loss, options.round_tokens);
  objective.batches = shuffled(data.train, options.batch, options.seed);
  objective.fingerprints = {{"train", fingerprint(data.train)}, {"dev", fingerprint(data.dev)}};
  if (has_words(data.dev, masking))
    objective.evaluate = [&] { return evaluate(model, data.dev, masking); };
  if (tokenizer)
    objective.save_model = [&, tokenizer](const std::filesystem::path& folder) {
      save_model(folder, *tokenizer, data.train.max_length, model);
    };
  return objective;
}

Evaluation evaluate(const nn::MaskedLm& model, const TokenizedSplit& split,
                    const Masking& masking) {
  const NoGrad no_grad;
  double loss = 0;
  i64 right = 0, hidden = 0;
  for (const std::vector<i64>& indices : batches_in_order(split, evaluation_batch(split))) {
    const Batch masked = masking(make_batch(split, indices), 0, true);
    if (masked.labels.size() == 0) continue;
    const Tensor logits = model.logits(masked).value().to(Device{});
    loss += ops::cross_entropy(logits, masked.labels, {.reduction = Reduction::sum}).loss.item();
    const Tensor told = ops::argmax(logits, 1);
    for (i64 i = 0; i < told.size(); ++i)
      right += told.data<i64>()[i] == masked.labels.data<i64>()[i];
    hidden += masked.labels.size();
  }
  check(hidden > 0,
        "evaluation: the {} texts have no token to hide: all of their words are unknown to the "
        "vocabulary",
        split.size());
  const double n = static_cast<double>(hidden);
  loss = without_sign_of_nan(loss / n);
  return {ConfusionMatrix(0),
          loss,
          {{"accuracy", static_cast<double>(right) / n}, {"perplexity", std::exp(loss)}}};
}

}  // namespace minima
