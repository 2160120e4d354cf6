/// Weights in another form: precision, one file, the bare encoder.
#include "train/convert_weights.hpp"

#include <csignal>

#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/files/json.hpp"
#include "core/files/model_weights.hpp"
#include "data/batcher.hpp"
#include "optim/optimizer.hpp"
#include "tests/train/drawn_model.hpp"
#include "train/interrupt.hpp"

using namespace minima;
using test::contains;
using test::DrawnModel;
using test::error_of;
using test::named;
using test::same_bits;

TEST_CASE("a converted model is the same within its precision, and the same bits on the way back") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    DrawnModel directory(architecture);
    const std::string folder = directory.folder.path();
    const Batch batch = make_batch(
        tokenize(Tokenizer(directory.vocabulary, Casing::uncased), test::builtin_examples(), 64),
        {0, 1, 2});
    const Tensor expected = directory.model(batch).value();
    for (const auto& [type, tolerance] :
         {std::pair{DType::f32, 0.0}, {DType::f16, 0.02}, {DType::bf16, 0.2}}) {
      CAPTURE(dtype_name(type));
      const std::string small = folder + "/" + std::string(dtype_name(type)),
                        file = small + ".safetensors", back = small + "-back",
                        again = small + "-again.safetensors";
      const ConvertReport report = convert_weights(directory.path(), file, {.dtype = type});
      CHECK(report.tensors == std::ssize(directory.model.parameters()));
      CHECK(report.elements == directory.model.parameter_count());
      CHECK(report.bytes == std::filesystem::file_size(file));
      CHECK(*SafetensorsFile(file).entry("classifier.bias").dtype == type);
      convert_weights(file, back, {.dtype = DType::f32, .like = directory.path()});
      CHECK(read_json(back + "/config.json")["dtype"] == "float32");
      test::check_close((*load_model(back).model)(batch).value(), expected, {tolerance, 0});
      convert_weights(back, again, {.dtype = type});
      CHECK(read_file(again) == read_file(file));
      // And directories of 16 bits are models.
      convert_weights(directory.path(), small, {.dtype = type});
      test::check_close((*load_model(small).model)(batch).value(), expected, {tolerance, 0});
    }
  }
}

TEST_CASE("an encoder without head loses what is not of it, and can be trained again") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    nn::EncoderConfig config = test::drawn_config(architecture);
    config.pooling = nn::Pooling::mean;  // of which config.json warns
    DrawnModel directory(config);
    CHECK(read_json(directory.path() + "/config.json").contains("minima_warning"));
    const std::string bare = directory.folder.path() + "/bare";
    const ConvertReport report = convert_weights(directory.path(), bare, {.encoder_only = true});
    const bool bert = architecture == nn::Architecture::bert;
    CHECK(report.left_out.size() == (bert ? 2 : 4));
    CHECK(read_json(bare + "/config.json")["architectures"][0] ==
          (bert ? "BertModel" : "DistilBertModel"));
    for (const char* key : {"id2label", "label2id", "num_labels", "minima_warning"})
      CHECK_FALSE(read_json(bare + "/config.json").contains(key));
    CHECK(ModelWeights(bare).contains("embeddings.word_embeddings.weight"));
    CHECK(contains(error_of([&] { load_model(bare); }), "has no head for 2 labels"));
    const ModelDirectory read = read_model_directory(bare);
    const auto model = pretrained_classifier(read, read.config, 1).model;
    CHECK(same_bits(model->encoder.layer[1]->ffn.lin2.weight.value,
                    directory.model.encoder.layer[1]->ffn.lin2.weight.value));
    // Once more changes nothing.
    convert_weights(bare, directory.folder.path() + "/twice.safetensors", {.encoder_only = true});
    CHECK(read_file(directory.folder.path() + "/twice.safetensors") ==
          read_file(bare + "/model.safetensors"));
  }
}

TEST_CASE("a head of other classes than config.json's is refused, and can be left out") {
  DrawnModel directory(nn::Architecture::distilbert);
  const std::string file = directory.path() + "/config.json", to = directory.folder.path() + "/to";
  Json config = read_json(file);
  config["id2label"] = {{"0", "a"}, {"1", "b"}, {"2", "c"}, {"3", "d"}};
  config.erase("num_labels"), config.erase("label2id");
  write_file(file, config.dump());
  CHECK(contains(error_of([&] { convert_weights(directory.path(), to, {}); }),
                 "'classifier.bias' does not fit " + file + ": [3] in the checkpoint, [4] here"));
  CHECK_FALSE(std::filesystem::exists(to));
  convert_weights(directory.path(), to, {.encoder_only = true});
}

TEST_CASE("a value that does not fit into f16 is an error, or counted where that is asked for") {
  const test::Folder folder;
  const std::string from = folder.path() + "/a.safetensors", to = folder.path() + "/b.safetensors";
  std::vector<float> values(70'000, 65519.f);  // more than are looked at at a time
  values.front() = 65520;
  values.back() = -1e30f;
  values[5] = values[69'000] = 1e-9f;
  values[6] = 0;
  save_safetensors(
      from, {{"w", Tensor::from(values)}, {"ids", Tensor::from(std::vector<i64>{i64{1} << 40})}});
  const std::string message = error_of([&] { convert_weights(from, to, {.dtype = DType::f16}); });
  CHECK(contains(message, from));
  CHECK(contains(message,
                 "tensor 'w': 2 of its values do not fit into f16, the largest of them 1e+30"));
  CHECK_FALSE(std::filesystem::exists(to));
  const ConvertReport report =
      convert_weights(from, to, {.dtype = DType::f16, .allow_overflow = true});
  CHECK(report.became_infinite == 2);
  CHECK(report.became_zero == 2);
  CHECK(SafetensorsFile(to).read("ids").data<i64>()[0] == i64{1} << 40);
  CHECK(contains(error_of([&] { convert_weights(from, folder.path() + "/dir", {}); }),
                 "needs a config.json"));
}

TEST_CASE("what a file says of itself goes along, and an optimizer's state is refused") {
  DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path path = directory.path(), file = path / "model.safetensors",
                              one = path.parent_path() / "one.safetensors";
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : directory.model.parameters())
    tensors.push_back({parameter->name, parameter->value});
  save_safetensors(file, tensors, {{"format", "pt"}, {"license", "CC0"}});
  convert_weights(path, one, {.dtype = DType::bf16});
  CHECK(SafetensorsFile(one).metadata() ==
        std::map<std::string, std::string>{{"format", "pt"}, {"license", "CC0"}});
  make_optimizer("adamw", directory.model.parameters()).save(path / "state.safetensors");
  CHECK_THROWS_WITH_AS(
      convert_weights(path / "state.safetensors", path.parent_path() / "two.safetensors", {}),
      doctest::Contains("state.safetensors: is an optimizer's state"), Error);
  CHECK_FALSE(is_there(path.parent_path() / "two.safetensors"));
}

TEST_CASE("shards become one file") {
  DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path path = directory.path();
  std::vector<NamedTensor> parts[2];
  Json map = Json::object();
  for (const Parameter* parameter : directory.model.parameters()) {
    const std::size_t part = map.size() % 2;
    parts[part].push_back({parameter->name, parameter->value});
    map[parameter->name] = fmt::format("model-{}.safetensors", part);
  }
  for (std::size_t part : {0, 1})
    save_safetensors(path / fmt::format("model-{}.safetensors", part), parts[part]);
  const std::string whole = read_file(path / "model.safetensors");
  std::filesystem::remove(path / "model.safetensors");
  write_file(path / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const auto sharded = load_model(path).model;
  for (const Parameter* parameter : sharded->parameters())
    CHECK(same_bits(parameter->value, named(directory.model, parameter->name).value));
  const std::filesystem::path one = path.parent_path() / "one";
  convert_weights(path, one, {});
  const auto single = load_model(one).model;
  for (const Parameter* parameter : single->parameters())
    CHECK(same_bits(parameter->value, named(directory.model, parameter->name).value));
}

namespace {

/// Every file below a folder, with its bytes.
std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    files[entry.path().string()] = entry.is_directory() ? "" : read_file(entry.path());
  return files;
}

}  // namespace

TEST_CASE("nothing is written over, whatever is there: a model's folder, a shard's, a file") {
  DrawnModel directory(nn::Architecture::distilbert);
  const DrawnModel other(nn::Architecture::bert);
  const std::filesystem::path folder = directory.folder.path();
  std::filesystem::create_directory(folder / "notes");
  write_file(folder / "notes/readme.txt", "mine");
  write_file(folder / "plain", "mine");
  write_file(folder / "one.safetensors", "mine");
  std::filesystem::create_directory(folder / "shards");
  write_file(folder / "shards/model.safetensors.index.json", "{}");
  std::filesystem::create_directory(folder / "folder.safetensors");
  const auto before = files_of(folder);
  for (const auto& [to, words] : {std::pair{"model", "is there already"},
                                  {"notes", "is there already"},
                                  {"plain", "is there already"},
                                  {"one.safetensors", "is there already"},
                                  {"folder.safetensors", "is there already"},
                                  {"shards", "is there already"},
                                  {"model/model.safetensors", "is there already"},
                                  {"shards/model.safetensors", "would hide the shards of"},
                                  {"x.bin", "does not write .bin files"},
                                  {"x.GGUF", "does not write .gguf files"},
                                  {"x.safetensor", "does not write .safetensor files"}}) {
    const std::string place = (folder / to).string(),
                      message = error_of([&] { convert_weights(other.path(), place, {}); });
    CAPTURE(message);
    CHECK(contains(message, place + ": "));
    CHECK(contains(message, words));
    CHECK(contains(message, "name a new folder, or a new file that ends with .safetensors"));
    CHECK(files_of(folder) == before);
  }
  CHECK(contains(error_of([&] { convert_weights(other.path(), "", {}); }), "has no name"));
  CHECK(contains(error_of([&] { convert_weights("", folder / "new", {}); }), "no model is named"));
  for (const char* to : {"plain/x", "plain/x.safetensors", "plain/y/x.safetensors"}) {
    const std::string message = error_of([&] { convert_weights(other.path(), folder / to, {}); });
    CAPTURE(message);
    CHECK(contains(message, (folder / to).string() + ": cannot be created: "));
  }
  CHECK(files_of(folder) == before);
  std::filesystem::create_directory(folder / "empty");
  const std::filesystem::path home = std::filesystem::current_path();
  std::filesystem::current_path(folder / "empty");
  const std::string here = error_of([&] { convert_weights(other.path(), ".", {}); });
  std::filesystem::current_path(home);
  CHECK(contains(here, ".: is the folder that you are in"));
  convert_weights(other.path(), folder / "UPPER.SAFETENSORS", {});
  CHECK(std::filesystem::is_regular_file(folder / "UPPER.SAFETENSORS"));
}

TEST_CASE("an error in the middle leaves nothing: no new folder, and an empty one empty") {
  DrawnModel directory(nn::Architecture::distilbert);
  directory.model.classifier.weight.value.data<float>()[0] = 1e30f;
  save_model(directory.path(), Tokenizer(directory.vocabulary, Casing::uncased), 64,
             directory.model);
  const std::string to = directory.folder.path() + "/to";
  const auto refused = [&] {
    const std::string message =
        error_of([&] { convert_weights(directory.path(), to, {.dtype = DType::f16}); });
    CHECK(contains(message, "'classifier.weight': 1 of its values do not fit into f16"));
  };
  refused();
  CHECK_FALSE(std::filesystem::exists(to));
  std::filesystem::create_directory(to);
  refused();
  CHECK(std::filesystem::is_empty(to));
  convert_weights(directory.path(), to, {.dtype = DType::bf16});
  CHECK(load_model(to).label_names == directory.model.config.label_names);
}

TEST_CASE(
    "what a killed conversion has left is replaced, and said; what is stopped leaves nothing") {
  const DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path folder = directory.folder.path(), to = folder / "deep/new/model";
  const auto before = files_of(folder);
  {
    const InterruptRequests ctrl_c;
    std::raise(SIGINT);
    for (const std::filesystem::path& place :
         {to, folder / "new.safetensors", folder / "deep/new/one.safetensors"})
      CHECK(error_of([&] { convert_weights(directory.path(), place, {}); }) ==
            "convert: stopped; nothing is left of " + place.string());
  }
  CHECK(files_of(folder) == before);

  std::filesystem::create_directories(part_of(to));
  write_file(part_of(to) / "model.safetensors.minima-part", "half");
  const ConvertReport report = convert_weights(directory.path(), to, {});
  CHECK(report.replaced == part_of(to));
  CHECK(load_model(to).label_names.size() == 3);
  CHECK(std::distance(std::filesystem::directory_iterator(to.parent_path()), {}) == 1);
  write_file(folder / "new.safetensors.minima-part", "half");
  CHECK(convert_weights(directory.path(), folder / "new.safetensors", {}).replaced ==
        folder / "new.safetensors.minima-part");
  CHECK_FALSE(std::filesystem::exists(folder / "new.safetensors.minima-part"));
  CHECK(convert_weights(directory.path(), folder / "other.safetensors", {}).replaced.empty());
}

TEST_CASE("a folder beside the new one is removed only where a conversion can have left it") {
  const DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path folder = directory.folder.path(), to = folder / "to";
  for (const std::filesystem::path& beside : {part_of(to), replaced_of(to)})
    for (const char* foreign : {"notes.txt", "optimizer.safetensors", "vocab.txt/deep"}) {
      const std::filesystem::path file = beside / foreign;
      std::filesystem::create_directories(file.parent_path());
      write_file(beside / "config.json", "{}");
      write_file(file, "mine");
      const std::string message = error_of([&] { convert_weights(directory.path(), to, {}); });
      CHECK(contains(message, beside.string() + "/"));
      CHECK(contains(message, "was not left by a conversion"));
      CHECK(read_file(file) == "mine");
      CHECK_FALSE(std::filesystem::exists(to));
      std::filesystem::remove_all(beside);
    }
}

TEST_CASE("the folders above a new folder and a new file are made, and stay where it does") {
  const DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path folder = directory.folder.path();
  convert_weights(directory.path(), folder / "a/b/model", {});
  CHECK(load_model(folder / "a/b/model").label_names.size() == 3);
  convert_weights(directory.path(), folder / "c/d/model.safetensors", {});
  CHECK_FALSE(SafetensorsFile(folder / "c/d/model.safetensors").entries().empty());
}

TEST_CASE("what of a directory is not taken is told, and a link to nothing is an error") {
  const DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path from = directory.path(), folder = directory.folder.path();
  write_file(from / "optimizer.safetensors", "x");
  write_file(from / "README.md", "x");
  std::filesystem::create_directory(from / "onnx");
  CHECK(convert_weights(from, folder / "one", {}).not_copied ==
        std::vector<std::string>{"README.md", "onnx/", "optimizer.safetensors"});
  CHECK(convert_weights(folder / "one", folder / "two", {}).not_copied.empty());

  const auto refused = [&](const std::filesystem::path& to, const ConvertOptions& options,
                           const std::string& words) {
    const std::string message = error_of([&] { convert_weights(folder / "one", to, options); });
    CAPTURE(message);
    CHECK(contains(message, words));
  };
  refused(folder / "x.safetensors", {.like = from}, "x.safetensors: is to be a single file");
  std::filesystem::create_symlink("nowhere", folder / "link");
  std::filesystem::create_symlink("nowhere", folder / "link.safetensors");
  refused(folder / "link", {}, "link: is there already");
  refused(folder / "link.safetensors", {}, "link.safetensors: is there already");
  for (const char* name : {"vocab.txt", "tokenizer.json", "config.json", "model.safetensors"}) {
    const std::filesystem::path file = folder / "one" / name;
    std::filesystem::rename(file, folder / "aside");
    std::filesystem::create_symlink("../blob", file);
    const std::string words = file.string() + ": cannot be opened: it is a link to '../blob'";
    refused(folder / "new", {}, words);
    if (name != std::string("vocab.txt"))  // where tokenizer.json says it all
      CHECK(contains(error_of([&] { load_model(folder / "one"); }), words));
    CHECK_FALSE(std::filesystem::exists(folder / "new"));
    std::filesystem::rename(folder / "aside", file);
  }
}

TEST_CASE("a buffer of the public library goes along as it is, whatever the weights become") {
  const DrawnModel directory(nn::Architecture::bert);
  const std::filesystem::path folder = directory.folder.path(), from = directory.path();
  std::vector<TensorSource> sources;
  const auto add = [&](const std::string& name, const Tensor& tensor,
                       const std::string& type = "") {
    sources.push_back({name, tensor.dtype(), tensor.shape(), [=] { return tensor; }, type});
  };
  {
    const SafetensorsFile file(from / "model.safetensors");
    for (const auto& [name, entry] : file.entries()) add(name, file.read(name));
  }
  add("bert.embeddings.position_ids", Tensor::from(std::vector<i64>{0, 1, 2}));
  add("bert.encoder.layer.0.attention.self.bias", Tensor::from(std::vector<u8>{1, 0}), "BOOL");
  save_safetensors(from / "model.safetensors", sources);
  CHECK(load_model(from).notes.size() == 1);  // the BOOL is not used
  for (const bool bare : {false, true}) {
    const std::filesystem::path to = folder / (bare ? "bare" : "whole");
    const ConvertReport report =
        convert_weights(from, to, {.dtype = DType::bf16, .encoder_only = bare});
    CHECK(report.tensors == std::ssize(sources) - 2 * bare);
    const std::string prefix = bare ? "" : "bert.",
                      mask = prefix + "encoder.layer.0.attention.self.bias";
    const SafetensorsFile file(to / "model.safetensors");
    CHECK(file.entry(prefix + "embeddings.position_ids").type == "I64");
    CHECK(file.entry(prefix + "embeddings.LayerNorm.bias").type == "BF16");
    CHECK(file.entry(mask).type == "BOOL");
    CHECK(file.read(mask).data<u8>()[0] == 1);
  }
}

TEST_CASE(
    "weights that training would refuse are refused: a tensor missing, of another shape, not "
    "finite") {
  DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path folder = directory.folder.path(), from = directory.path();
  const std::string name = "distilbert.transformer.layer.0.attention.q_lin.bias";
  const auto refused = [&](const std::function<void(std::vector<NamedTensor>&)>& change,
                           const std::string& words, bool also_a_file = false) {
    std::vector<NamedTensor> tensors;
    for (const Parameter* parameter : directory.model.parameters())
      tensors.push_back({parameter->name, parameter->value.clone()});
    change(tensors);
    save_safetensors(from / "model.safetensors", tensors);
    for (const char* to : {"new", "new.safetensors"}) {
      if (!also_a_file && to == std::string("new.safetensors")) continue;
      const std::string message = error_of([&] { convert_weights(from, folder / to, {}); });
      CAPTURE(message);
      CHECK(contains(message, words));
      CHECK(contains(message, "model.safetensors: "));
      CHECK_FALSE(std::filesystem::exists(folder / to));
    }
    CHECK(contains(error_of([&] { load_model(from); }), words));  // the same words
  };
  const auto is_it = [&](const NamedTensor& tensor) { return tensor.name == name; };
  refused([&](std::vector<NamedTensor>& tensors) { std::erase_if(tensors, is_it); },
          "'" + name + "' [32] is missing");
  refused(
      [&](std::vector<NamedTensor>& tensors) {
        std::ranges::find_if(tensors, is_it)->tensor = Tensor::zeros({31}, DType::f32);
      },
      "'" + name + "' is [31] and must be [32]");
  for (const float value : {NAN, INFINITY})
    refused(
        [&](std::vector<NamedTensor>& tensors) {
          std::ranges::find_if(tensors, is_it)->tensor.data<float>()[3] = value;
        },
        "tensor '" + name + "' is not finite at element 3: the weights are damaged", true);
}

TEST_CASE("weights go with their own config.json only, and a run's folder names its model") {
  const DrawnModel directory(nn::Architecture::distilbert);
  nn::EncoderConfig wide = test::drawn_config(nn::Architecture::distilbert);
  wide.hidden = 52;
  const DrawnModel other(wide);
  const std::filesystem::path folder = directory.folder.path();
  const std::string message = error_of([&] {
    convert_weights(directory.path() + "/model.safetensors", folder / "mixed",
                    {.like = other.path()});
  });
  CAPTURE(message);
  CHECK(contains(message, "lin1.weight' is [48, 32], config.json asks for [52, 32]"));
  CHECK_FALSE(std::filesystem::exists(folder / "mixed"));
  std::filesystem::rename(folder / "model", folder / "final");
  CHECK(contains(error_of([&] { convert_weights(folder, folder / "new", {}); }),
                 folder.string() + ": is a run's folder; its model is"));
}
