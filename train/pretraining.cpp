#include "train/pretraining.hpp"

#include <cmath>
#include <fstream>
#include <numeric>

#include "core/ops/cross_entropy.hpp"
#include "core/rng.hpp"
#include "data/readers/notes.hpp"
#include "data/utf8.hpp"
#include "train/model_directory.hpp"
#include "train/splits.hpp"

namespace minima {

Objective masked_language_modelling(nn::MaskedLm& model, const PretrainingData& data,
                                    const Masking& masking, const TrainingOptions& options,
                                    const Tokenizer* tokenizer) {
  Objective objective{
      .parameters = model.parameters(),
      .batches = shuffled(data.train, options.batch, options.seed),
      .loss =
          [&](std::span<const i64> indices, const nn::Pass& pass) {
            const MaskedBatch masked =
                masking(make_batch(data.train, {indices.begin(), indices.end()}), pass.step);
            // The step's mean is over its hidden tokens; a batch without any counts as one of loss 0.
            return BatchLoss{model.loss(masked.batch, masked.rows, masked.targets, pass),
                             static_cast<double>(std::max<i64>(1, masked.rows.size())),
                             masked.batch.tokens.size()};
          },
      .fingerprint = fingerprint({&data.train, &data.dev})};
  if (data.dev.size() > 0) objective.evaluate = [&] { return evaluate(model, data.dev, masking); };
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
    const MaskedBatch masked = masking(make_batch(split, indices), 0);
    if (masked.rows.size() == 0) continue;
    const Tensor logits = model.logits(masked.batch, masked.rows).value();
    loss += ops::cross_entropy(logits, masked.targets, {.reduction = Reduction::sum}).loss.item();
    for (i64 i = 0; i < masked.rows.size(); ++i) {
      const float* row = logits.data<float>() + i * logits.size(1);
      right += std::max_element(row, row + logits.size(1)) - row == masked.targets.data<i64>()[i];
    }
    hidden += masked.rows.size();
  }
  const double n = static_cast<double>(std::max<i64>(1, hidden));
  return {ConfusionMatrix(0),
          loss / n,
          {{"accuracy", static_cast<double>(right) / n}, {"perplexity", std::exp(loss / n)}}};
}

namespace {

std::vector<Example> lines_of(const std::string& path) {
  std::ifstream file(path);
  check(file.good(), "{}: cannot be read", path);
  std::vector<Example> texts;
  i64 number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    check(find_invalid_utf8(line) == std::string::npos, "{}:{}: is not valid UTF-8", path, number);
    if (line.find_first_not_of(" \t\r") != std::string::npos) texts.push_back({line, 0});
  }
  check(!file.bad(), "{}: cannot be read", path);
  return texts;
}

/// The texts of a table, whatever its labels are, or none: the text itself is read as the label.
std::vector<Example> texts_of(const std::string& path, ReadOptions read,
                              std::vector<std::string>& remarks) {
  read.label_column = read.text_column.substr(0, read.text_column.find(','));
  const auto rows = open_rows(path, read);
  std::vector<Example> texts;
  for (Row& row : all_rows(*rows, path))
    texts.push_back({std::move(row.text), 0, std::move(row.pair)});
  remarks = notes(*rows);
  return texts;
}

/// Each text of a pair as a text of its own.
std::vector<Example> separated(std::vector<Example> examples) {
  std::vector<Example> texts;
  for (Example& example : examples) {
    std::string second = std::exchange(example.pair, {});
    texts.push_back(std::move(example));
    if (!second.empty()) texts.push_back({std::move(second), 0});
  }
  return texts;
}

}  // namespace

Dataset load_texts(const std::string& spec, u64 seed, const ReadOptions& read) {
  const bool lines = spec.ends_with(".txt");
  if (!lines && !std::filesystem::is_regular_file(spec)) {
    Dataset dataset = load_dataset(spec, seed, read);
    for (auto* split : {&dataset.train, &dataset.dev, &dataset.test})
      *split = separated(std::move(*split));
    return dataset;
  }
  std::vector<std::string> remarks;
  std::vector<Example> texts = separated(lines ? lines_of(spec) : texts_of(spec, read, remarks));
  check(texts.size() >= 2, "{}: has {} texts; pre-training needs 2 at least", spec, texts.size());

  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  RandomSequence(seed, "split/texts").shuffle(order);
  const std::size_t held_out = std::clamp<std::size_t>(texts.size() / 20, 1, 2000);
  Dataset dataset{
      .name = spec, .origin = {}, .label_names = {"text"}, .train = {}, .dev = {}, .test = {}};
  for (std::size_t i = 0; i < order.size(); ++i)
    (i < held_out ? dataset.dev : dataset.train).push_back(std::move(texts[order[i]]));
  dataset.origin = fmt::format("{}: {} texts to train on, {} held out", spec, dataset.train.size(),
                               dataset.dev.size());
  for (const std::string& remark : remarks) dataset.origin += "; " + remark;
  return dataset;
}

TokenizedSplit in_pieces(const TokenizedSplit& split, i64 max_length) {
  check(max_length >= 3, "pretrain: a maximum length of {} has no room for a token", max_length);
  TokenizedSplit pieces;
  pieces.max_length = max_length;
  for (i64 i = 0; i < split.size(); ++i) {
    const i64 cls = split.offsets[i], sep = split.offsets[i + 1] - 1;
    i64 next = cls + 1;
    do {
      pieces.tokens.push_back(split.tokens[cls]);
      for (const i64 end = std::min(sep, next + max_length - 2); next < end; ++next)
        pieces.tokens.push_back(split.tokens[next]);
      pieces.tokens.push_back(split.tokens[sep]);
      pieces.offsets.push_back(static_cast<i64>(pieces.tokens.size()));
      pieces.labels.push_back(split.labels[i]);
    } while (next < sep);
  }
  return pieces;
}

}  // namespace minima
