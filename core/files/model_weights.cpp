#include "core/files/model_weights.hpp"

#include <set>

#include "core/files/file.hpp"
#include "core/files/sorted_json.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

std::filesystem::path weights_of(const std::filesystem::path& path) {
  if (!is_folder(path)) return path;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (is_there(path / name)) return path / name;
  for (const char* name : {"pytorch_model.bin", "tf_model.h5"})
    check(!is_there(path / name),
          "{}: has {} and no model.safetensors; save the model as safetensors first", path.string(),
          name);
  fail("{}: has no model.safetensors and no model.safetensors.index.json", path.string());
}

/// A name is taken for a file beside the index, and for nothing else.
bool is_plain(const std::string& name) {
  return name.ends_with(".safetensors") && name.find_first_of("/\\") == name.npos &&
         name.find('\0') == name.npos && name != ".safetensors";
}

}  // namespace

ModelWeights::ModelWeights(const std::filesystem::path& path) : path_(weights_of(path)) {
  if (path_.extension() == ".json")
    read_index();
  else
    add(path_);
}

void ModelWeights::add(const std::filesystem::path& file) {
  files_.push_back(std::make_unique<SafetensorsFile>(file));
  for (const auto& [name, entry] : files_.back()->entries()) {
    const auto [holder, added] = holders_.emplace(name, files_.back().get());
    check(added, "{}: tensor '{}' is in {} too", file.string(), shown(name),
          holder->second->path().filename().string());
  }
}

void ModelWeights::read_index() {
  const std::string where = path_.string();
  const SortedJson index = parse_sorted_json(read_file(path_), where);
  check(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object() &&
            !index["weight_map"].empty(),
        "{}: must be an object with a 'weight_map' from tensors to files", where);
  const SortedJson& map = index["weight_map"];
  std::set<std::string> shards;
  for (const auto& [name, shard] : map.items()) {
    check(shard.is_string(), "{}: tensor '{}': its file must be a string", where, shown(name));
    check(is_plain(shard.get<std::string>()),
          "{}: tensor '{}': its file is '{}'; it must be the name of a .safetensors file beside "
          "the index",
          where, shown(name), shown(shard.get<std::string>()));
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) {
    check(is_there(path_.parent_path() / shard), "{}: the file '{}' is missing; copy it here, too",
          where, shown(shard));
    add(path_.parent_path() / shard);
  }
  for (const auto& [name, shard] : map.items()) {
    const auto found = holders_.find(name);
    check(found != holders_.end(), "{}: tensor '{}' is not in '{}'", where, shown(name),
          shown(shard.get<std::string>()));
    const std::string actual = found->second->path().filename().string();
    check(actual == shard.get<std::string>(), "{}: tensor '{}' is in '{}', the index says '{}'",
          where, shown(name), shown(actual), shown(shard.get<std::string>()));
  }
  for (const auto& [name, file] : holders_)
    check(map.contains(name), "{}: tensor '{}' of '{}' is not in the index", where, shown(name),
          file->path().filename().string());
}

std::vector<std::string> ModelWeights::names() const {
  std::vector<std::string> all;
  for (const auto& [name, file] : holders_) all.push_back(name);
  return all;
}

const SafetensorsFile& ModelWeights::holder(const std::string& name) const {
  const auto found = holders_.find(name);
  check(found != holders_.end(), "{}: has no tensor '{}'", path_.string(), shown(name));
  return *found->second;
}

}  // namespace minima
