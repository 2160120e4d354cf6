#include "train/convert_weights.hpp"

#include <cmath>
#include <set>

#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/files/model_weights.hpp"
#include "core/ops/finite.hpp"
#include "nn/models/weights.hpp"
#include "train/interrupt.hpp"
#include "train/model_directory.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlaces = "name a new folder, or a new file that ends with .safetensors";

/// All that a directory may hold beside config.json and weights.
constexpr const char* kTokenizerFiles[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json", "added_tokens.json"};

void refuse_optimizer_state(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  check(format == file.metadata().end() || !format->second.starts_with("minima-optimizer"),
        "{}: is an optimizer's state, which is read as it was written; minima convert is for "
        "weights",
        file.path().string());
}

/// `values` as `dtype`; counts what it cannot hold.
Tensor converted(const Tensor& values, DType dtype, const std::string& name,
                 const ConvertOptions& options, ConvertReport& report) {
  const i64 at = ops::first_non_finite(values);
  check(at < 0, "tensor '{}' is not finite at element {}: the weights are damaged", name, at);
  if (values.dtype() == dtype) return values;
  const Tensor result = values.to(dtype), before = values.reshape({values.size()}),
               after = result.reshape({values.size()});
  i64 infinite = 0;
  double largest = 0;
  constexpr i64 kPiece = 1 << 16;  // values that are compared at a time
  for (i64 at = 0; at < before.size(); at += kPiece) {
    const i64 end = std::min(at + kPiece, before.size());
    const Tensor were = before.rows(at, end).to(DType::f64),
                 are = after.rows(at, end).to(DType::f64);
    for (i64 i = 0; i < end - at; ++i) {
      const double was = were.data<double>()[i], is = are.data<double>()[i];
      report.became_zero += is == 0 && was != 0;
      if (!std::isinf(is)) continue;
      ++infinite;
      largest = std::max(largest, std::abs(was));
    }
  }
  check(infinite == 0 || options.allow_overflow,
        "tensor '{}': {} of its values do not fit into {}, the largest of them {:.6g}; convert to "
        "bf16, or with --allow-overflow to infinity",
        name, infinite, dtype_name(dtype), largest);
  report.became_infinite += infinite;
  return result;
}

/// The config.json of the new form. Throws Error where it is not that of the weights.
Json new_config(const fs::path& file, const ModelWeights& weights, const ConvertOptions& options) {
  Json json = read_json(file);
  const auto config = nn::EncoderConfig::from_json(json, file.string());
  nn::check_sizes(config, weights);  // before a model of these sizes is made
  const nn::WeightMatch match =
      nn::match_weights(nn::Classifier(config).parameters(), weights, config.names());
  // Without names of classes it may be another kind of head.
  if (json.contains("id2label") || json.contains("num_labels"))
    for (const auto& [parameter, why] : match.anew)
      check(options.encoder_only || !weights.contains(parameter),
            "{}: '{}' does not fit {}: {}; mend that, or leave the head out (--encoder-only)",
            weights.path().string(), parameter, file.string(), why);
  if (options.dtype) {
    json.erase("torch_dtype");
    json["dtype"] = *options.dtype == DType::f32    ? "float32"
                    : *options.dtype == DType::bf16 ? "bfloat16"
                                                    : "float16";
  }
  if (options.encoder_only) {
    json["architectures"] = {config.names().encoder_class};
    nn::erase_classes(json);
  }
  return json;
}

/// Refuses names that are no place for new files. Nothing is ever written over: a model that is there
/// is neither lost nor mixed with another.
void check_place(const fs::path& to) {
  const std::string name = to.string();
  check(!name.empty(), "convert: the new place has no name; {}", kPlaces);
  for (const char* known : {".bin", ".ckpt", ".gguf", ".h5", ".json", ".msgpack", ".npz", ".onnx",
                            ".pt", ".pth", ".safetensor"})
    check(ending(to) != known, "{}: this program does not write {} files; {}", name, known,
          kPlaces);
  const bool empty_folder =
      fs::is_directory(fs::symlink_status(to)) && fs::is_empty(to) && ending(to) != ".safetensors";
  check(!is_there(to) || empty_folder, "{}: is there already, and convert writes over nothing; {}",
        name, kPlaces);
  check(!empty_folder || !fs::equivalent(to, "."),
        "{}: is the folder that you are in; name another, or stand above it", name);
  if (to.filename() == "model.safetensors") {
    const auto index = to.string() + ".index.json";
    check(!is_there(index), "{}: would hide the shards of {}; {}", name, index, kPlaces);
  }
}

/// Throws Error where a folder that would be removed holds what no conversion has left there.
void check_left_by_kill(const fs::path& folder) {
  std::set<fs::path> own = {"config.json", "model.safetensors"};
  own.insert(std::begin(kTokenizerFiles), std::end(kTokenizerFiles));
  for (const fs::path& whole : std::set(own)) own.insert(part_of(whole));
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none))
    check(own.contains(entry.path().filename()) && fs::is_regular_file(entry.symlink_status()),
          "{}: was not left by a conversion, and its folder would be removed; move it away, or {}",
          entry.path().string(), kPlaces);
}

/// What of a model's directory is none of its weights, its config.json and its tokenizer: folders end with '/'.
std::vector<std::string> others_in(const fs::path& directory, const ModelWeights& weights) {
  std::set<std::string> known(std::begin(kTokenizerFiles), std::end(kTokenizerFiles));
  known.insert({"config.json", weights.path().filename().string()});
  for (const std::string& name : weights.names())
    known.insert(weights.holder(name).path().filename().string());
  std::vector<std::string> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (const std::string name = entry.path().filename().string(); !known.contains(name))
      others.push_back(entry.is_directory() ? name + "/" : name);
  std::ranges::sort(others);
  return others;
}

}  // namespace

Json ConvertReport::to_json() const {
  return {{"weights", weights.string()},
          {"tensors", tensors},
          {"elements", elements},
          {"bytes", bytes},
          {"became_infinite", became_infinite},
          {"became_zero", became_zero},
          {"left_out", left_out},
          {"not_copied", not_copied},
          {"replaced", replaced.empty() ? Json() : Json(replaced.string())}};
}

ConvertReport convert_weights(const fs::path& from, const fs::path& to,
                              const ConvertOptions& options) {
  check_place(to);
  const bool to_file = ending(to) == ".safetensors";
  check(
      !to_file || options.like.empty(),
      "{}: is to be a single file, which takes nothing from {}; leave --like out, or name a folder",
      to.string(), options.like.string());
  check(!from.empty(), "convert: no model is named; name its folder or its .safetensors file");
  refuse_run_folder(from);
  const ModelWeights weights(from);
  const fs::path source = !options.like.empty()    ? options.like
                          : is_folder(from)        ? from
                          : from.has_parent_path() ? from.parent_path()
                                                   : ".";
  ConvertReport report;
  report.weights = to_file ? to : to / "model.safetensors";
  for (const fs::path& left : {part_of(to), replaced_of(to)}) check_left_by_kill(left);
  if (is_there(part_of(to))) report.replaced = part_of(to);
  Json config;
  if (!to_file) {
    check(
        is_there(source / "config.json"),
        "{}: a model directory needs a config.json, and {} has none; name a directory that has it "
        "with --like",
        to.string(), source.string());
    config = new_config(source / "config.json", weights, options);
    if (source == from) report.not_copied = others_in(from, weights);
  }

  std::vector<TensorSource> sources;
  for (const std::string& name : weights.names()) {
    refuse_optimizer_state(weights.holder(name));
    const auto new_name = options.encoder_only ? nn::bare_name(name) : std::optional(name);
    if (!new_name) {
      report.left_out.push_back(name);
      continue;
    }
    const SafetensorsFile::Entry& entry = weights.entry(name);
    check(entry.dtype.has_value(),
          "{}: tensor '{}' is of type {}, which cannot be converted; save it as F32, of at most {} "
          "dimensions, first",
          weights.path().string(), name, entry.type, Shape::kMaxRank);
    const bool of_floats = is_float(*entry.dtype);
    const DType dtype = of_floats ? options.dtype.value_or(*entry.dtype) : *entry.dtype;
    report.elements += entry.shape.size();
    ++report.tensors;
    const auto make = [&, name, dtype] {
      if (InterruptRequests::received())
        fail_at_run_time("convert: stopped; nothing is left of {}", to.string());
      try {
        return converted(weights.read(name), dtype, name, options, report);
      } catch (const Error& error) {
        fail("{}: {}", weights.holder(name).path().string(), error.what());
      }
    };
    sources.push_back({*new_name, dtype, entry.shape, make, of_floats ? "" : entry.type});
  }
  check(!sources.empty(), "{}: has no tensors of an encoder", weights.path().string());
  const auto write_weights = [&](const fs::path& file) {
    std::map<std::string, std::string> metadata =
        weights.holder(weights.names().front()).metadata();
    metadata["format"] = "pt";
    save_safetensors(file, sources, metadata);
    report.bytes = fs::file_size(file);
  };
  if (to_file) {
    const NewFolders above(to.parent_path(), to);
    write_weights(to);
    return report;
  }
  write_folder(to, [&](const fs::path& part) {
    write_weights(part / "model.safetensors");
    write_file(part / "config.json", config.dump(2) + "\n");
    for (const char* name : kTokenizerFiles)
      if (is_there(source / name)) write_file(part / name, read_file(source / name));
  });
  return report;
}

}  // namespace minima
