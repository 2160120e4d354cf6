#include "train/convert_weights.hpp"

#include <cmath>

#include "core/file.hpp"
#include "core/model_weights.hpp"
#include "nn/models/config.hpp"

namespace minima {
namespace {

/// All that a directory may hold beside config.json and weights.
constexpr const char* kTokenizerFiles[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json", "added_tokens.json"};

bool is_float(const std::optional<DType>& dtype) {
  return dtype && *dtype != DType::i64 && *dtype != DType::i32 && *dtype != DType::u8;
}

/// The name that an encoder's tensor has in a file of the bare encoder; none for what is not of it.
std::optional<std::string> bare_name(const std::string& name, const std::string& prefix) {
  if (!prefix.empty())
    return name.starts_with(prefix) ? std::optional(name.substr(prefix.size())) : std::nullopt;
  for (const char* part : {"embeddings.", "encoder.", "transformer.", "pooler."})
    if (name.starts_with(part)) return name;
  return {};
}

/// "bert." or "distilbert.", or nothing in a file of the bare encoder.
std::string prefix_of(const ModelWeights& weights) {
  for (const nn::Architecture architecture : {nn::Architecture::bert, nn::Architecture::distilbert})
    for (const std::string& name : weights.names())
      if (const std::string prefix = std::string(nn::names_of(architecture).model_type) + ".";
          name.starts_with(prefix))
        return prefix;
  return "";
}

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

/// The config.json of the new form.
Json new_config(const std::filesystem::path& file, const ConvertOptions& options) {
  Json config = read_json(file);
  const nn::Architecture architecture =
      nn::EncoderConfig::from_json(config, file.string()).architecture;
  if (options.dtype) {
    config.erase("torch_dtype");
    config["dtype"] = *options.dtype == DType::f32    ? "float32"
                      : *options.dtype == DType::bf16 ? "bfloat16"
                                                      : "float16";
  }
  if (options.encoder_only)
    config["architectures"] = {architecture == nn::Architecture::bert ? "BertModel"
                                                                      : "DistilBertModel"};
  return config;
}

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
  const ModelWeights weights(from);
  const bool to_file = to.extension() == ".safetensors";
  const std::filesystem::path source = !options.like.empty()                 ? options.like
                                       : std::filesystem::is_directory(from) ? from
                                                                             : from.parent_path();
  ConvertReport report;
  report.weights = to_file ? to : to / "model.safetensors";
  Json config;
  if (!to_file) {
    check(
        std::filesystem::exists(source / "config.json"),
        "{}: a model directory needs a config.json, and {} has none; name a directory that has it "
        "with --like",
        to.string(), source.string());
    config = new_config(source / "config.json", options);
  }

  std::vector<TensorSource> sources;
  const std::string prefix = options.encoder_only ? prefix_of(weights) : "";
  for (const std::string& name : weights.names()) {
    const auto new_name = options.encoder_only ? bare_name(name, prefix) : std::optional(name);
    if (!new_name) {
      report.left_out.push_back(name);
      continue;
    }
    const SafetensorsFile::Entry& entry = weights.entry(name);
    check(entry.dtype.has_value(), "{}: tensor '{}' is of type {}, which cannot be converted",
          weights.path().string(), name, entry.type);
    const DType dtype = is_float(entry.dtype) ? options.dtype.value_or(*entry.dtype) : *entry.dtype;
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
  if (!to_file) std::filesystem::create_directories(to);
  save_safetensors(report.weights, sources, {{"format", "pt"}});
  report.bytes = std::filesystem::file_size(report.weights);
  if (to_file) return report;
  write_file(to / "config.json", config.dump(2) + "\n");
  for (const char* name : kTokenizerFiles)
    if (std::filesystem::exists(source / name) && !std::filesystem::equivalent(source, to))
      write_file(to / name, read_file(source / name));
  return report;
}

}  // namespace minima
