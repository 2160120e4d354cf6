#include "train/splits.hpp"

#include "core/files/checksum.hpp"

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
  Checksum sum;
  const auto add = [&](const auto& values) {  // each as 64 bits, however it is kept
    for (i64 i = 0; i < std::ssize(values); ++i) {
      const i64 value = values[i];
      sum.add(&value, sizeof(value));
    }
  };
  add(split.tokens), add(split.offsets), add(split.labels);
  return sum.digits();
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
