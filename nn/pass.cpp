#include "nn/pass.hpp"

namespace minima::nn {

PackedRows PackedRows::to(Device device) const {
  return {offsets.to(device), example_id.to(device), positions.to(device), row_example.to(device)};
}

PackedRows all_rows(const Batch& batch) {
  return {batch.offsets, batch.example_id, batch.positions, completed(batch).row_example};
}

PackedRows first_rows(const Batch& batch) {
  const Batch whole = completed(batch);
  const bool here = whole.offsets.device() == Device{};  // else nobody waits to look
  for (i64 text = 0; here && text < whole.texts(); ++text)
    check(whole.length(text) > 0, "batch: text {} has no token; a classifier reads its first",
          text);
  return {whole.text_rows, whole.example_id,
          Tensor::zeros({whole.texts()}, DType::i64, whole.example_id.device()), whole.example_id};
}

PackedRows chosen_rows(const Batch& batch) {
  check(batch.chosen.defined(),
        "language model: the batch of {} texts does not say which tokens are read; hide some "
        "(data/masking.hpp), or set `chosen`",
        batch.texts());
  const Batch whole = completed(batch);
  return {whole.chosen_offsets, whole.example_id, whole.chosen_positions, whole.chosen_example};
}

}  // namespace minima::nn
