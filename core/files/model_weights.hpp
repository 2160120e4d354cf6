/// The tensors of a model: one safetensors file, or several with an index that says which file
/// holds which tensor ("shards").
///
///     model.safetensors.index.json   {"metadata": {…}, "weight_map": {"classifier.bias":
///                                    "model-00001-of-00002.safetensors", …}}
#pragma once

#include <memory>

#include "core/files/safetensors.hpp"

namespace minima {

class ModelWeights {
 public:
  /// `path` is a safetensors file, an index (a .json file), or a directory with model.safetensors
  /// or else model.safetensors.index.json. Throws Error for a file that breaks a rule; for an index
  /// whose shards are missing, are not plain names of .safetensors files beside it, or hold other
  /// tensors than it says; and for a directory that has neither.
  explicit ModelWeights(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }  ///< the file, or the index
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return holders_.contains(name); }
  /// The file that holds a tensor. Throws Error when none does.
  const SafetensorsFile& holder(const std::string& name) const;
  const SafetensorsFile::Entry& entry(const std::string& name) const {
    return holder(name).entry(name);
  }
  /// As SafetensorsFile::read and read_into.
  Tensor read(const std::string& name) const { return holder(name).read(name); }
  void read_into(Tensor& to, const std::string& name) const { holder(name).read_into(to, name); }

 private:
  void add(const std::filesystem::path& file);
  void read_index();

  std::filesystem::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> holders_;
};

}  // namespace minima
