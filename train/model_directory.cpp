#include "train/model_directory.hpp"

#include <cmath>

#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/text/for_shell.hpp"
#include "core/text/utf8.hpp"
#include "data/tokenizer_files.hpp"
#include "nn/models/weights.hpp"

namespace minima {
namespace {

constexpr const char* kHolds =
    "a model directory holds config.json, vocab.txt or tokenizer.json, and model.safetensors";

/// Whether a head for the labels of `a` serves those of `b`: they are the same, or `a` names none.
bool serves(const nn::EncoderConfig& a, const nn::EncoderConfig& b) {
  nn::EncoderConfig nameless = a;
  nameless.label_names.clear();
  const auto names = a.names_of_labels();
  return names == b.names_of_labels() || names == nameless.names_of_labels();
}

/// The tokens that fit into the positions, or fewer where tokenizer_config.json says so; the public
/// library writes an enormous number there for "not known".
i64 max_length_of(const std::filesystem::path& directory, const nn::EncoderConfig& config) {
  const auto file = directory / "tokenizer_config.json";
  if (!is_there(file)) return config.positions;
  const Json json = read_json(file);
  check(json.is_object(), "{}: not a JSON object", file.string());
  if (!json.contains("model_max_length") || json["model_max_length"].is_null())
    return config.positions;
  const Json& length = json["model_max_length"];
  const double tokens = length.is_number() ? length.get<double>() : 0;
  check(tokens >= 2 && std::trunc(tokens) == tokens,
        "{}: 'model_max_length' is {}; it must be a whole number from 2", file.string(),
        shown(length.dump()));
  const auto positions = static_cast<double>(config.positions);
  return static_cast<i64>(std::min(tokens, positions));
}

/// The model, and what was found for it; `seed` draws the rest. Where `not_the_last_layer` says why, that is not taken.
template <class Model>
std::pair<std::unique_ptr<Model>, nn::WeightMatch> load(
    const ModelWeights& weights, const nn::EncoderConfig& config, u64 seed,
    const std::string& not_the_last_layer = "") {
  nn::check_sizes(config, weights);
  auto model = std::make_unique<Model>(config);
  nn::WeightMatch match = nn::match_weights(model->parameters(), weights, config.names());
  if (!not_the_last_layer.empty()) match.make_anew("classifier.", not_the_last_layer);
  nn::read_weights(model->parameters(), weights, match);
  model->initialize(seed, [&](const Parameter& each) { return match.anew.contains(each.name); });
  return {std::move(model), std::move(match)};
}

/// What the user should know of a directory that has been read.
std::vector<std::string> notes_of(const ModelDirectory& directory, const nn::WeightMatch& match) {
  std::vector<std::string> notes = match.notes();
  const i64 known = directory.tokenizer.vocabulary().size(), all = directory.config.vocabulary;
  constexpr i64 kPadding = 128;  // some models' are a multiple of it, or of 64
  if (all - known >= kPadding || 10 * known < 9 * all)
    notes.push_back(
        fmt::format("{}: the tokenizer has {} entries, the model {}: is its vocabulary whole?",
                    directory.path.string(), known, all));
  return notes;
}

/// Takes out of what is not used copies of what a masked language model shares with its embeddings. Returns whether the
/// output layer has other weights.
bool take_out_copies(nn::WeightMatch& match, const ModelWeights& weights,
                     const nn::MaskedLm& model) {
  const std::string weight = model.config.names().lm_weight,
                    bias = weight.substr(0, weight.rfind('.')) + ".bias";
  const auto repeats = [&](const std::string& name, const Tensor& own) {
    const Tensor there = weights.read(name).to(DType::f32);
    return there.shape() == own.shape() &&
           std::ranges::equal(there.span<float>(), own.span<float>());
  };
  bool others = false;
  std::erase_if(match.unused, [&](const std::string& name) {
    if (name == bias) return repeats(bias, model.bias.value);
    if (name != weight) return false;
    others = !repeats(weight, model.encoder.embeddings.word_embeddings.weight.value);
    return true;
  });
  return others;
}

}  // namespace

void refuse_run_folder(const std::filesystem::path& path) {
  check(!is_there(path / "final") || is_there(path / "config.json"),
        "{}: is a run's folder; its model is {}", path.string(), (path / "final").string());
}

ModelDirectory read_model_directory(const std::filesystem::path& path) {
  refuse_run_folder(path);
  const auto config_file = path / "config.json";
  check(is_folder(path), "{}: is not a folder; {}", path.string(), kHolds);
  check(is_there(config_file), "{}: has no config.json; {}", path.string(), kHolds);
  auto config = nn::EncoderConfig::from_json(read_json(config_file), config_file.string());
  Tokenizer tokenizer = read_tokenizer(path);
  check(tokenizer.vocabulary().size() <= config.vocabulary,
        "{}: the tokenizer has {} entries, config.json has 'vocab_size' {}; are both of one model?",
        path.string(), tokenizer.vocabulary().size(), config.vocabulary);
  config.lower_case = tokenizer.normalization().lowercase;
  const i64 max_length = max_length_of(path, config);
  return {path, std::move(config), std::move(tokenizer), max_length};
}

PretrainedClassifier pretrained_classifier(const ModelDirectory& directory,
                                           const nn::EncoderConfig& config, u64 seed) {
  auto [model, match] = load<nn::Classifier>(
      ModelWeights(directory.path), config, seed,
      serves(directory.config, config) ? "" : "for other labels in the checkpoint");
  return {std::move(model), notes_of(directory, match)};
}

PretrainedMaskedLm pretrained_masked_lm(const ModelDirectory& directory,
                                        const nn::EncoderConfig& config, u64 seed) {
  const ModelWeights weights(directory.path);
  auto [model, match] = load<nn::MaskedLm>(weights, config, seed);
  const bool others = take_out_copies(match, weights, *model);
  std::vector<std::string> notes = notes_of(directory, match);
  if (others)
    notes.push_back(fmt::format(
        "{}: the output layer has weights of its own ({}), which are not read: here it shares "
        "those of the embeddings, and what it knew is to be learned again",
        directory.path.string(), config.names().lm_weight));
  return {std::move(model), std::move(notes)};
}

TextClassifier load_model(const std::filesystem::path& path) {
  ModelDirectory directory = read_model_directory(path);
  check(directory.config.labels >= 2,
        "{}: its head has one label: it scores texts, and does not tell classes apart",
        path.string());
  auto [model, match] = load<nn::Classifier>(ModelWeights(path), directory.config, 0);
  if (!match.anew.empty()) {
    const auto& [parameter, why] = *match.anew.begin();
    fail("{}: has no head for {} labels: {}: {}; fine-tune it first: minima train --model {}",
         path.string(), directory.config.labels, parameter, why, for_shell(path.string()));
  }
  std::vector<std::string> notes = notes_of(directory, match);
  return {std::move(directory.tokenizer), std::move(model), directory.config.names_of_labels(),
          directory.max_length, std::move(notes)};
}

namespace {

template <class Model>
void save(const std::filesystem::path& directory, const Tokenizer& tokenizer, i64 max_length,
          const Json& config, Model& model) {
  make_folders(directory);
  write_file(directory / "config.json", config.dump(2) + "\n");
  write_tokenizer(
      directory, tokenizer, max_length,
      model.config.architecture == nn::Architecture::bert ? TokenTypes::taken : TokenTypes::none);
  nn::save_parameters(directory / "model.safetensors", model.parameters());
}

}  // namespace

void save_model(const std::filesystem::path& directory, const Tokenizer& tokenizer, i64 max_length,
                nn::Classifier& model) {
  save(directory, tokenizer, max_length, model.config.to_json(), model);
}

void save_model(const std::filesystem::path& directory, const Tokenizer& tokenizer, i64 max_length,
                nn::MaskedLm& model) {
  save(directory, tokenizer, max_length, model.config.masked_lm_json(), model);
}

}  // namespace minima
