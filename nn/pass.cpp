#include "nn/pass.hpp"

namespace minima::nn {

PackedRows PackedRows::to(Device device) const {
  return {offsets.to(device), example_id.to(device), positions.to(device), row_example.to(device)};
}

PackedRows all_rows(const Batch& batch) {
  return {batch.offsets, batch.example_id, batch.positions, completed(batch).row_example};
}

PackedRows first_rows(const Batch& batch) {
  return {completed(batch).text_rows, batch.example_id,
          Tensor::zeros({batch.texts()}, DType::i64, batch.example_id.device()), batch.example_id};
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
