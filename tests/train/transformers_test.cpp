/// Model directories go to transformers and come from there: both give the same logits.
#include <random>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/model_weights.hpp"
#include "tests/train/drawn_model.hpp"
#include "train/classification.hpp"

using namespace minima;
using test::DrawnModel;

namespace {

constexpr std::size_t kTexts = 200;

/// Real texts and pairs of them, with capitals, accents and ideographs in some.
struct Examples {
  Examples() {
    const std::vector<Example> examples = test::builtin_examples();
    REQUIRE(examples.size() >= 2 * kTexts);
    for (std::size_t i = 0; i < kTexts; ++i) {
      std::string text = examples[i].text;
      if (i % 3 == 0) std::ranges::transform(text, text.begin(), ::toupper);
      if (i % 4 == 0) text += " Größe ÉTÉ naïve 東京 [MASK]";
      single.push_back({text, 0});
      pairs.push_back({text, 0, examples[kTexts + i].text});
    }
  }
  std::string json() const {
    Json lines = Json::array();
    for (const Example& example : single) lines.push_back({example.text});
    for (const Example& example : pairs) lines.push_back({example.text, example.pair});
    return lines.dump();
  }
  std::vector<Example> single, pairs;
};

nn::EncoderConfig random_config(nn::Architecture architecture, std::mt19937& random) {
  const auto between = [&](i64 least, i64 most) {
    return least + static_cast<i64>(random() % static_cast<std::uint32_t>(most - least + 1));
  };
  nn::EncoderConfig config = test::drawn_config(architecture);
  config.heads = between(1, 5);
  config.dim = config.heads * between(3, 12);
  config.hidden = between(5, 90);
  config.layers = between(1, 4);
  config.positions = between(20, 90);
  config.token_types = between(2, 4);
  return config;
}

void run(const std::string& python, const std::string& arguments) {
  REQUIRE(std::system(fmt::format("'{}' '{}/tests/train/transformers_models.py' {}", python,
                                  test::source_folder().string(), arguments)
                          .c_str()) == 0);
}

/// Our logits of a directory against those in another's logits.safetensors.
void check_logits(const std::string& ours, const std::string& theirs, const Examples& texts) {
  const TextClassifier loaded = load_model(ours);
  CHECK(loaded.notes.empty());
  const SafetensorsFile file(theirs + "/logits.safetensors");
  for (const auto& [name, examples] :
       {std::pair{"single", &texts.single}, {"pair", &texts.pairs}}) {
    CAPTURE(name);
    const TokenizedSplit split = tokenize(loaded.tokenizer, *examples, loaded.max_length);
    test::check_close(predict(*loaded.model, split), file.read(name), {1e-5, 0});
  }
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("transformers gives the logits of what is written here, and gets back what it wrote") {
    const std::string python = test::python_with("torch transformers");
    if (python.empty()) {
      MESSAGE("skipped: MINIMA_PYTHON (or python3) has no torch or no transformers");
      return;
    }
    const Examples texts;
    const test::Folder folder;
    std::mt19937 random(7);
    std::vector<std::unique_ptr<DrawnModel>> written;
    std::vector<std::string> theirs, returned;
    Json models = Json::array();
    for (const nn::Architecture architecture : nn::kArchitectures)
      for (const Casing casing : {Casing::uncased, Casing::cased}) {
        written.push_back(
            std::make_unique<DrawnModel>(random_config(architecture, random), casing));
        nn::EncoderConfig config = random_config(architecture, random);
        config.vocabulary = written.back()->model.config.vocabulary;
        theirs.push_back(fmt::format("{}/theirs-{}", folder.path(), theirs.size()));
        models.push_back({{"folder", theirs.back()},
                          {"tokenizer", written.back()->path()},
                          {"config", config.to_json()},
                          {"shards", casing == Casing::cased}});
      }
    run(python, "make " + folder.write("models.json", models.dump()));
    // Where training would begin: with the directory's own weights, head and tokenizer.
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      const std::string& from = theirs[i];
      CHECK(std::filesystem::exists(from + "/model.safetensors.index.json") ==
            models[i]["shards"].get<bool>());
      const ModelDirectory read = read_model_directory(from);
      CHECK(read.config.lower_case == written[i]->model.config.lower_case);
      const PretrainedClassifier start = pretrained_classifier(read, read.config, 1);
      CHECK(start.notes.empty());
      returned.push_back(from + "-returned");
      save_model(returned.back(), read.tokenizer, read.max_length, *start.model);
    }
    std::string folders;
    for (const auto& model : written) folders += " " + model->path();
    for (std::size_t i = 0; i < theirs.size(); ++i) folders += " " + theirs[i] + " " + returned[i];
    run(python, "logits " + folder.write("texts.json", texts.json()) + folders);

    for (const auto& model : written) {
      CAPTURE(model->model.config.to_json().dump());
      check_logits(model->path(), model->path(), texts);
    }
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      CAPTURE(read_file(theirs[i] + "/config.json"));
      check_logits(theirs[i], theirs[i], texts);
      check_logits(returned[i], theirs[i], texts);
      const SafetensorsFile first(theirs[i] + "/logits.safetensors"),
          second(returned[i] + "/logits.safetensors");
      for (const char* name : {"single", "pair"})
        test::check_close(second.read(name), first.read(name), {1e-5, 0});
    }
  }
}
