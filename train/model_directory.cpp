#include "train/model_directory.hpp"

#include "core/file.hpp"
#include "core/safetensors.hpp"

namespace minima {

TextClassifier load_model(const std::filesystem::path& directory) {
  check(std::filesystem::is_directory(directory),
        "{}: is not a model directory (config.json, vocab.txt, model.safetensors)",
        directory.string());
  const auto config_file = directory / "config.json";
  auto config = nn::EncoderConfig::from_json(read_json(config_file), config_file.string());
  Tokenizer tokenizer(Vocabulary::read(directory / "vocab.txt"),
                      config.lower_case ? Casing::uncased : Casing::cased);
  check(tokenizer.vocabulary().size() <= config.vocabulary,
        "{}: vocab.txt has {} entries, config.json says {}", directory.string(),
        tokenizer.vocabulary().size(), config.vocabulary);

  const SafetensorsFile file(directory / "model.safetensors");
  // Every size of config.json is one that the file has, before anything of it is allocated.
  const auto require = [&](const std::string& name, const Shape& shape) {
    const auto found = file.entries().find(name);
    check(found != file.entries().end() && found->second.shape == shape,
          "{}: '{}' is {}, config.json asks for {}", file.path().string(), name,
          found == file.entries().end() ? "missing" : to_string(found->second.shape), shape);
  };
  const std::string encoder = config.names().model_type;
  require(encoder + ".embeddings.word_embeddings.weight", {config.vocabulary, config.dim});
  require(encoder + ".embeddings.position_embeddings.weight", {config.positions, config.dim});
  require("classifier.weight", {config.labels, config.dim});

  TextClassifier result{std::move(tokenizer), std::make_unique<nn::Classifier>(config),
                        config.label_names};
  for (i64 label = static_cast<i64>(result.label_names.size()); label < config.labels; ++label)
    result.label_names.push_back(fmt::format("LABEL_{}", label));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, entry] : file.entries()) tensors[name] = file.read(name);
  nn::load_parameters(result.model->parameters(), tensors);
  return result;
}

void save_model(const std::filesystem::path& directory, const Vocabulary& vocabulary,
                nn::Classifier& model) {
  std::filesystem::create_directories(directory);
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : model.parameters())
    tensors.push_back({parameter->name, parameter->value});
  write_file(directory / "config.json", model.config.to_json().dump(2) + "\n");
  vocabulary.write(directory / "vocab.txt");
  save_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace minima
