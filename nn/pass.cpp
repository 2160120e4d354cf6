#include "nn/pass.hpp"

namespace minima::nn {

PackedRows PackedRows::to(Device device) const {
  return {offsets.to(device), example_id.to(device), positions.to(device), row_example.to(device)};
}

PackedRows all_rows(const Batch& batch) {
  if (batch.row_example.defined())
    return {batch.offsets, batch.example_id, batch.positions, batch.row_example};
  Tensor row_example = Tensor::empty({batch.tokens.size()}, DType::i64);
  const i64* offsets = batch.offsets.data<i64>();
  for (i64 text = 0; text < batch.texts(); ++text)
    std::fill(row_example.data<i64>() + offsets[text], row_example.data<i64>() + offsets[text + 1],
              batch.example_id.data<i64>()[text]);
  return {batch.offsets, batch.example_id, batch.positions, std::move(row_example)};
}

PackedRows first_rows(const Batch& batch) {
  Tensor offsets = batch.text_rows;
  if (!offsets.defined()) {
    offsets = Tensor::empty({batch.texts() + 1}, DType::i64);
    for (i64 text = 0; text <= batch.texts(); ++text) offsets.data<i64>()[text] = text;
  }
  return {std::move(offsets), batch.example_id,
          Tensor::zeros({batch.texts()}, DType::i64, batch.example_id.device()), batch.example_id};
}

}  // namespace minima::nn
