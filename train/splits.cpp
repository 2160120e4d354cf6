#include "train/splits.hpp"

#include <xxhash.h>

namespace minima {

Batches shuffled(const TokenizedSplit& split, BatchSize size, u64 seed) {
  return [&split, size, seed](i64 epoch) { return epoch_batches(split, size, seed, epoch); };
}

BatchSize evaluation_batch(const TokenizedSplit& split) {
  i64 most = 2048;  // tokens
  for (i64 i = 0; i < split.size(); ++i) most = std::max(most, split.length(i));
  return BatchSize::of_tokens(most);
}

std::string fingerprint(const TokenizedSplit& split) {
  u64 hash = 0;
  const auto add = [&](const auto& values) {
    std::vector<i64> copy(values.size());
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = static_cast<i64>(values[i]);
    hash = XXH3_64bits_withSeed(copy.data(), copy.size() * sizeof(i64), hash);
  };
  add(split.tokens), add(split.offsets), add(split.labels);
  return fmt::format("{:016x}", hash);
}

void check_unchanged(const Fingerprints& now, const Json& then) {
  std::vector<std::string> changed;
  for (const auto& [part, print] : now)
    if (!then.is_object() || then.value(part, Json()) != print) changed.push_back(part);
  check(changed.empty(),
        "resume: {} {} changed since the beginning: texts, labels, their order, or what the "
        "tokenizer makes of them (of a model its sizes or first weights); give the same files and "
        "options",
        fmt::join(changed, ", "), changed.size() > 1 ? "have" : "has");
}

}  // namespace minima
