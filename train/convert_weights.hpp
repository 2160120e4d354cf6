/// A model's weights in another form: a directory or one file, f32, bf16 or f16, with its head or as
/// the bare encoder. Tensors are read, converted and written one after another.
#pragma once

#include <filesystem>
#include <optional>

#include "core/dtype.hpp"
#include "core/files/json.hpp"

namespace minima {

struct ConvertOptions {
  std::optional<DType> dtype{};  ///< of floating-point tensors: f32, bf16 or f16; none: as they are
  /// Only the encoder, its names without the architecture's prefix: what the public library calls
  /// DistilBertModel or BertModel. config.json says nothing of classes then.
  bool encoder_only = false;
  /// Values that the type cannot hold become infinite and are counted; else they are an error.
  bool allow_overflow = false;
  /// The directory whose config.json and tokenizer a new directory gets; where it is empty, that of the
  /// weights.
  std::filesystem::path like{};
};

struct ConvertReport {
  std::filesystem::path weights;  ///< the file that was written
  i64 tensors = 0, elements = 0;
  u64 bytes = 0;                      ///< of that file
  i64 became_infinite = 0;            ///< finite before
  i64 became_zero = 0;                ///< not zero before
  std::vector<std::string> left_out;  ///< tensors that are not the encoder's
  /// What of the directory that was converted is no part of the new one: "optimizer.safetensors", "onnx/".
  std::vector<std::string> not_copied;
  std::filesystem::path replaced;  ///< what a conversion that was killed had left; empty: nothing

  Json to_json() const;
};

/// `from` is a model directory, a safetensors file, or the index of several; `to` a new file whose name
/// ends with .safetensors, or a new or empty folder, which also gets the tokenizer's files and a
/// config.json of the new form; folders above it are made. Nothing is overwritten: all is made in TO.minima-part
/// (core/files/file.hpp, core/files/folder.hpp), which is removed when an error or Ctrl-C ends the work, and replaced by the
/// next call where a kill has left it. Throws Error, naming file and tensor, for a source that is damaged, has a value that is
/// not finite, or does not fit its config.json; for a value that overflows, a folder without a config.json to take, and a `to`
/// that is there already.
ConvertReport convert_weights(const std::filesystem::path& from, const std::filesystem::path& to,
                              const ConvertOptions& options);

}  // namespace minima
