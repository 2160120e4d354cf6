#include "train/convert_weights.hpp"

#include <cmath>

#include "core/file.hpp"
#include "core/model_weights.hpp"
#include "nn/models/weights.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

constexpr const char* kPlaces = "name a new folder, or a new file that ends with .safetensors";

/// All that a directory may hold beside config.json and weights.
constexpr const char* kTokenizerFiles[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json", "added_tokens.json"};

/// `values` as `dtype`; counts what it cannot hold.
Tensor converted(const Tensor& values, DType dtype, const std::string& name,
                 const ConvertOptions& options, ConvertReport& report) {
  if (values.dtype() == dtype) return values;
  Tensor result = values.to(dtype);
  const Tensor before = values.to(DType::f64), after = result.to(DType::f64);
  i64 infinite = 0;
  double largest = 0;
  for (i64 i = 0; i < values.size(); ++i) {
    const double was = before.data<double>()[i], is = after.data<double>()[i];
    report.became_zero += is == 0 && was != 0;
    if (!std::isinf(is) || std::isinf(was)) continue;
    ++infinite;
    largest = std::max(largest, std::abs(was));
  }
  check(infinite == 0 || options.allow_overflow,
        "tensor '{}': {} of its values do not fit into {}, the largest of them {:.6g}; convert to "
        "bf16, or with --allow-overflow to infinity",
        name, infinite, dtype_name(dtype), largest);
  report.became_infinite += infinite;
  return result;
}

/// The config.json of the new form. Throws Error where it is not that of the weights.
Json new_config(const std::filesystem::path& file, const ModelWeights& weights,
                const ConvertOptions& options) {
  Json json = read_json(file);
  const auto config = nn::EncoderConfig::from_json(json, file.string());
  nn::check_sizes(config, weights);
  if (options.dtype) {
    json.erase("torch_dtype");
    json["dtype"] = *options.dtype == DType::f32    ? "float32"
                    : *options.dtype == DType::bf16 ? "bfloat16"
                                                    : "float16";
  }
  if (options.encoder_only) json["architectures"] = {config.names().encoder_class};
  return json;
}

/// What a name ends with, from its last point on, in small letters.
std::string ending(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return ending;
}

/// Refuses names that are no place for new files. Nothing is ever written over: a model that is there
/// is neither lost nor mixed with another.
void check_place(const std::filesystem::path& to) {
  const std::string name = to.string();
  check(!name.empty(), "convert: the new place has no name; {}", kPlaces);
  for (const char* known : {".bin", ".ckpt", ".gguf", ".h5", ".json", ".msgpack", ".npz", ".onnx",
                            ".pt", ".pth", ".safetensor"})
    check(ending(to) != known, "{}: this program does not write {} files; {}", name, known,
          kPlaces);
  const bool empty_folder = std::filesystem::is_directory(to) && std::filesystem::is_empty(to);
  check(!std::filesystem::exists(to) || (empty_folder && ending(to) != ".safetensors"),
        "{}: is there already, and convert writes over nothing; {}", name, kPlaces);
  if (to.filename() == "model.safetensors") {
    const auto index = to.string() + ".index.json";
    check(!std::filesystem::exists(index), "{}: would hide the shards of {}; {}", name, index,
          kPlaces);
  }
}

/// A new folder, or an empty one that is there. Unless all goes well, what was written into it goes.
class NewFolder {
 public:
  explicit NewFolder(const std::filesystem::path& path) : path_(path) {
    std::error_code refused;
    made_ = std::filesystem::create_directories(path, refused);
    if (refused) fail_at_run_time("{}: cannot be created: {}", path.string(), refused.message());
  }
  ~NewFolder() {
    if (whole) return;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path_, ignored))
      std::filesystem::remove(entry, ignored);
    if (made_) std::filesystem::remove(path_, ignored);
  }
  bool whole = false;

 private:
  std::filesystem::path path_;
  bool made_;
};

}  // namespace

Json ConvertReport::to_json() const {
  return {{"weights", weights.string()},
          {"tensors", tensors},
          {"elements", elements},
          {"bytes", bytes},
          {"became_infinite", became_infinite},
          {"became_zero", became_zero},
          {"left_out", left_out}};
}

ConvertReport convert_weights(const std::filesystem::path& from, const std::filesystem::path& to,
                              const ConvertOptions& options) {
  check_place(to);
  check(!from.empty(), "convert: no model is named; name its folder or its .safetensors file");
  refuse_run_folder(from);
  const ModelWeights weights(from);
  const bool to_file = ending(to) == ".safetensors";
  const std::filesystem::path source = !options.like.empty()                 ? options.like
                                       : std::filesystem::is_directory(from) ? from
                                       : from.has_parent_path()              ? from.parent_path()
                                                                             : ".";
  ConvertReport report;
  report.weights = to_file ? to : to / "model.safetensors";
  Json config;
  if (!to_file) {
    check(
        std::filesystem::exists(source / "config.json"),
        "{}: a model directory needs a config.json, and {} has none; name a directory that has it "
        "with --like",
        to.string(), source.string());
    config = new_config(source / "config.json", weights, options);
  }

  std::vector<TensorSource> sources;
  for (const std::string& name : weights.names()) {
    const auto new_name = options.encoder_only ? nn::bare_name(name) : std::optional(name);
    if (!new_name) {
      report.left_out.push_back(name);
      continue;
    }
    const SafetensorsFile::Entry& entry = weights.entry(name);
    check(entry.dtype.has_value(),
          "{}: tensor '{}' is of type {}, which cannot be converted; save it as F32 first",
          weights.path().string(), name, entry.type);
    const DType dtype =
        is_float(*entry.dtype) ? options.dtype.value_or(*entry.dtype) : *entry.dtype;
    report.elements += entry.shape.size();
    ++report.tensors;
    sources.push_back({*new_name, dtype, entry.shape, [&, name, dtype] {
                         try {
                           return converted(weights.read(name), dtype, name, options, report);
                         } catch (const Error& error) {
                           fail("{}: {}", weights.holder(name).path().string(), error.what());
                         }
                       }});
  }
  check(!sources.empty(), "{}: has no tensors of an encoder", weights.path().string());
  const auto write_weights = [&] {
    save_safetensors(report.weights, sources, {{"format", "pt"}});
    report.bytes = std::filesystem::file_size(report.weights);
  };
  if (to_file) {
    write_weights();
    return report;
  }
  NewFolder folder(to);
  write_weights();
  write_file(to / "config.json", config.dump(2) + "\n");
  for (const char* name : kTokenizerFiles)
    if (std::filesystem::exists(source / name)) write_file(to / name, read_file(source / name));
  folder.whole = true;
  return report;
}

}  // namespace minima
