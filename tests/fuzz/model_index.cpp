// Any bytes as the index of two shards: what is accepted names their tensors, each in its place.
#include "core/files/file.hpp"
#include "core/files/model_weights.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

struct Shards : minima::ScratchFolder {
  Shards() {
    using namespace minima;
    save_safetensors(*this / "one.safetensors",
                     std::vector<NamedTensor>{{"a", Tensor::zeros({2})}});
    save_safetensors(*this / "two.safetensors",
                     std::vector<NamedTensor>{{"b", Tensor::zeros({3})}});
  }
};

}  // namespace

void minima::fuzz(std::string_view input) {
  static const Shards folder;
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  write_file(index, input);
  const ModelWeights weights(index);
  require(!weights.names().empty(), "an index has tensors");
  for (const std::string& name : weights.names())
    require(weights.read(name).size() == (name == "a" ? 2 : 3), "each tensor is in its place");
}
