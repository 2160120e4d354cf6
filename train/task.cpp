#include "train/task.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/files/file.hpp"
#include "data/tokenizer_files.hpp"
#include "data/vocabulary_training.hpp"
#include "train/memory.hpp"

namespace minima {
namespace {

constexpr i64 kMaxLength = 128;  // from scratch

/// What is asked of the rates and of pooling, over what the model says.
void set_rates(nn::EncoderConfig& config, const TaskOptions& options) {
  if (options.dropout) {
    check(*options.dropout >= 0 && *options.dropout < 1,
          "model: dropout is {}; it must be at least 0 and below 1", *options.dropout);
    config.dropout = config.attention_dropout = config.classifier_dropout = *options.dropout;
    if (config.architecture == nn::Architecture::bert)
      config.attention_output_dropout = *options.dropout;
  }
  if (options.pooling) config.pooling = *options.pooling;
}

/// The sizes of a model from scratch.
nn::EncoderConfig new_config(const TaskOptions& options) {
  const bool is_file = options.model.ends_with(".json");
  nn::EncoderConfig config =
      is_file ? nn::EncoderConfig::from_json(read_json(options.model), options.model)
              : nn::preset(options.model);
  if (is_file) check_limits(config, options.model);
  config.dim = options.dim.value_or(config.dim);
  config.layers = options.layers.value_or(config.layers);
  config.heads = options.heads.value_or(config.heads);
  config.hidden = options.hidden.value_or(config.hidden);
  check_limits(config);
  config.positions = std::max(config.positions, options.max_length.value_or(kMaxLength));
  return config;
}

/// The directory to be fine-tuned. Its sizes and its tokenizer are what they are.
ModelDirectory directory_of(const TaskOptions& options) {
  check(!options.dim && !options.layers && !options.heads && !options.hidden,
        "model: {} is trained already; dim, layers, heads and hidden are for a model from scratch",
        options.model);
  check(options.vocab_file.empty() && !options.vocabulary && !options.casing,
        "model: {} has its own tokenizer; a vocabulary and casing are for a model from scratch",
        options.model);
  ModelDirectory directory = read_model_directory(options.model);
  check(!options.max_length || *options.max_length <= directory.config.positions,
        "max-length is {}, {} has {} positions", options.max_length.value_or(0), options.model,
        directory.config.positions);
  return directory;
}

Tokenizer tokenizer_for(const TaskOptions& options, const nn::EncoderConfig& config,
                        const Dataset& dataset) {
  const Casing casing =
      options.casing.value_or(config.lower_case ? Casing::uncased : Casing::cased);
  if (is_vocabulary(options.vocab_file)) return read_tokenizer(options.vocab_file, casing);
  if (!options.vocab_file.empty()) return read_tokenizer(options.vocab_file, options.casing);
  std::vector<std::string_view> texts;
  for (const Example& example : dataset.train) {
    texts.push_back(example.text);
    if (!example.pair.empty()) texts.push_back(example.pair);
  }
  const i64 size = options.vocabulary.value_or(8000);
  // Chinese has some thousands of characters.
  const i64 alphabet = std::max(VocabularyOptions().alphabet, size / 4);
  return Tokenizer(train_vocabulary(texts, {.size = size, .alphabet = alphabet, .casing = casing}),
                   casing);
}

double unknown_share(const TokenizedSplit& split, const Vocabulary& vocabulary) {
  const auto& [pad, unk, cls, sep, mask] = vocabulary.special();
  i64 words = 0, unknown = 0;
  for (i64 i = 0; i < split.tokens.size(); ++i) {
    words += split.tokens[i] != cls && split.tokens[i] != sep;
    unknown += split.tokens[i] == unk;
  }
  return words == 0 ? 0 : static_cast<double>(unknown) / static_cast<double>(words);
}

/// Numbers the classes as a head does that has learned the same ones in another order.
void number_as(const std::vector<std::string>& names, Dataset& dataset) {
  if (names.size() != dataset.label_names.size()) return;
  std::map<std::string, i64> number;
  for (const std::string& name : names) number.emplace(name, std::ssize(number));
  std::vector<i64> numbers;
  for (const std::string& name : dataset.label_names) {
    if (!number.contains(name)) return;
    numbers.push_back(number[name]);
  }
  for (std::vector<Example>* const split : {&dataset.train, &dataset.dev, &dataset.test})
    for (Example& example : *split)
      example.label = numbers[static_cast<std::size_t>(example.label)];
  dataset.label_names = names;
}

/// What is wrong whatever the data are.
void check_options(const TaskOptions& options) {
  check(!options.max_length || (*options.max_length >= 3 && *options.max_length <= 4096),
        "max-length is {}; it must lie between 3 ([CLS], one token, [SEP]) and 4096",
        options.max_length.value_or(0));
  if (is_pretrained(options.model)) return;
  check(options.vocab_file.empty() || !options.vocabulary,
        "vocabulary: {} is taken; it is not made, and its size cannot be asked for",
        options.vocab_file);
  nn::EncoderConfig config = new_config(options);
  check(options.casing != Casing::uncased || config.lower_case,
        "model: {} is a cased model; uncased contradicts it", options.model);
  set_rates(config, options);
}

}  // namespace

bool is_preset(const std::string& model) {
  return std::ranges::count(nn::preset_names(), model) > 0;
}
bool is_pretrained(const std::string& model) { return !is_preset(model) && is_folder(model); }

std::unique_ptr<nn::Classifier> Task::new_model(u64 seed) const {
  auto model = pretrained ? pretrained_classifier(*pretrained, config, seed).model
                          : std::make_unique<nn::Classifier>(config);
  if (!pretrained) model->initialize(seed);
  model->to(device);
  return model;
}

Task prepare(const TaskOptions& options, const std::function<void(const Dataset&)>& loaded) {
  check_options(options);  // before anything is loaded
  Dataset dataset = load_dataset(options.data, options.split_seed, options.read, options.apart);
  if (loaded) loaded(dataset);
  return prepare(options, std::move(dataset));
}

Task prepare(const TaskOptions& options, Dataset dataset, Texts texts) {
  check_options(options);
  std::optional<ModelDirectory> pretrained;
  if (is_pretrained(options.model)) pretrained = directory_of(options);
  nn::EncoderConfig config = pretrained ? pretrained->config : new_config(options);
  set_rates(config, options);
  if (pretrained) number_as(pretrained->config.names_of_labels(), dataset);
  config.labels = static_cast<i64>(dataset.label_names.size());
  config.label_names = dataset.label_names;
  std::vector<std::string> notes;  // and the weights are known to be whole before work begins
  if (pretrained && texts == Texts::labelled)
    notes = pretrained_classifier(*pretrained, config, 0).notes;
  Tokenizer tokenizer =
      pretrained ? pretrained->tokenizer : tokenizer_for(options, config, dataset);
  const i64 max_length =
      options.max_length.value_or(pretrained ? pretrained->max_length : kMaxLength);
  const bool pairs = std::ranges::any_of(
      dataset.train, [](const Example& example) { return !example.pair.empty(); });
  if (pairs) config.check_pairs(options.model);
  config.pairs = pairs;
  check(max_length >= (pairs ? 5 : 3),
        "max-length is {}; {} have at least {} tokens, [CLS] and [SEP] counted", max_length,
        pairs ? "pairs" : "texts", pairs ? 5 : 3);
  const auto tokens_of = [&](const std::vector<Example>& examples) {
    constexpr i64 kWhole = i64{1} << 40;
    return texts == Texts::plain ? in_pieces(tokenize(tokenizer, examples, kWhole), max_length)
                                 : tokenize(tokenizer, examples, max_length);
  };
  TrainingData data{tokens_of(dataset.train), tokens_of(dataset.dev), tokens_of(dataset.test)};
  if (!pretrained) {
    config.vocabulary = tokenizer.vocabulary().size();
    config.lower_case = tokenizer.normalization().lowercase;
  }
  const double unknown = unknown_share(data.train, tokenizer.vocabulary());
  const std::string name =
      is_preset(options.model)
          ? options.model
          : std::filesystem::absolute(options.model).lexically_normal().string();
  const Overlaps overlaps = count_overlaps(dataset);
  return {std::move(dataset),
          std::move(tokenizer),
          std::move(data),
          std::move(config),
          name,
          std::move(pretrained),
          std::move(notes),
          max_length,
          options.device,
          unknown,
          overlaps};
}

}  // namespace minima
