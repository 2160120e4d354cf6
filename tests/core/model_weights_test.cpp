/// Weights in one file and in shards; a broken index is refused by file, place and rule.
#include "core/files/model_weights.hpp"

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

void write_shard(const test::Folder& folder, const std::string& file,
                 const std::vector<std::string>& names) {
  std::vector<NamedTensor> tensors;
  for (const std::string& name : names)
    tensors.push_back({name, Tensor::full({2}, static_cast<double>(name[0]))});
  save_safetensors(folder.path() + "/" + file, tensors);
}

/// Two shards, "a" in the first, "b" and "c" in the second.
void write_shards(const test::Folder& folder) {
  write_shard(folder, "one.safetensors", {"a"});
  write_shard(folder, "two.safetensors", {"b", "c"});
}

std::string index_of(const std::string& map) {
  return R"({"metadata": {"total_size": 24}, "weight_map": )" + map + "}";
}
const std::string kMap =
    R"({"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"})";

}  // namespace

TEST_CASE("shards are one set of tensors, found through the directory or the index") {
  const test::Folder folder;
  write_shards(folder);
  const std::string index = folder.write(kIndex, index_of(kMap));
  for (const std::string& path : {folder.path(), index}) {
    const ModelWeights weights(path);
    CHECK(weights.names() == std::vector<std::string>{"a", "b", "c"});
    CHECK(weights.read("c").data<float>()[1] == 'c');
    CHECK(weights.holder("a").path().filename() == "one.safetensors");
    CHECK(contains(error_of([&] { (void)weights.read("d"); }), "has no tensor 'd'"));
  }
  // One file stands over an index.
  write_shard(folder, "model.safetensors", {"d"});
  CHECK(ModelWeights(folder.path()).names() == std::vector<std::string>{"d"});
}

TEST_CASE("a broken index is refused by file, place and rule") {
  const std::pair<std::string, std::vector<const char*>> broken[] = {
      {"", {"not valid JSON"}},
      {"[]", {"'weight_map'"}},
      {"{}", {"'weight_map'"}},
      {index_of("[]"), {"'weight_map'"}},
      {index_of("{}"), {"'weight_map'"}},
      {index_of(kMap) + "x", {"not valid JSON"}},
      {index_of(kMap).substr(0, 60), {"not valid JSON"}},
      {index_of(R"({"a": "one.safetensors", "a": "two.safetensors"})"), {"'a'", "twice"}},
      {index_of(R"({"a": 7})"), {"'a'", "must be a string"}},
      {index_of(R"({"a": null})"), {"'a'", "must be a string"}},
      {index_of(R"({"a": ""})"), {"'a'", "''", "beside the index"}},
      {index_of(R"({"a": "../one.safetensors"})"), {"'a'", "'../one.safetensors'", "beside"}},
      {index_of(R"({"a": "/etc/passwd"})"), {"'a'", "'/etc/passwd'", "beside"}},
      {index_of(R"({"a": "sub/one.safetensors"})"), {"'a'", "'sub/one.safetensors'", "beside"}},
      {index_of(R"({"a": "..\\one.safetensors"})"), {"'a'", "beside"}},
      {index_of(R"({"a": "one.bin"})"), {"'a'", "'one.bin'", "beside"}},
      {index_of(R"({"a": "one\u0000.safetensors"})"), {"'a'", "beside"}},
      {index_of(R"({"a": ".safetensors"})"), {"'a'", "beside"}},
      {index_of(R"({"a": "three.safetensors"})"), {"'three.safetensors'", "missing"}},
      {index_of(R"({"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"})"),
       {"'c'", "in 'two.safetensors'", "'one.safetensors'"}},
      {index_of(R"({"a": "one.safetensors", "x": "one.safetensors"})"),
       {"'x'", "not in 'one.safetensors'"}},
      {index_of(R"({"a": "one.safetensors", "b": "two.safetensors"})"),
       {"'c'", "'two.safetensors'", "not in the index"}},
      {index_of(R"({"a": "cut.safetensors"})"), {"cut.safetensors", "do not lie in the 3 bytes"}},
      {index_of(R"({"a": "one.safetensors", "b": "again.safetensors"})"),
       {"'a'", "one.safetensors", "again.safetensors", "too"}},
  };
  for (const auto& [text, words] : broken) {
    CAPTURE(text);
    const test::Folder folder;
    write_shards(folder);
    write_shard(folder, "again.safetensors", {"a", "b"});
    const std::string whole = read_file(folder.path() + "/one.safetensors");
    folder.write("cut.safetensors", whole.substr(0, whole.size() - 5));
    folder.write(kIndex, text);
    const std::string message = error_of([&] { ModelWeights weights(folder.path()); });
    CAPTURE(message);
    CHECK(contains(message, folder.path()));
    CHECK_FALSE(contains(message, "\n"));
    for (const char* word : words) CHECK(contains(message, word));
  }
}

TEST_CASE("a directory without safetensors says what it has instead") {
  const test::Folder folder;
  const auto message = [&] { return error_of([&] { ModelWeights weights(folder.path()); }); };
  CHECK(contains(message(), "has no model.safetensors and no model.safetensors.index.json"));
  folder.write("pytorch_model.bin", "");
  CHECK(contains(message(), "has pytorch_model.bin and no model.safetensors"));
}
