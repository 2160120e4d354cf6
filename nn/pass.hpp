/// What a forward pass knows besides its input.
#pragma once

#include "core/batch.hpp"

namespace minima::nn {

/// Training draws dropout masks from (seed, layer, step); evaluation draws none.
struct Pass {
  bool training = false;
  u64 seed = 0;
  i64 step = 0;                     ///< optimizer step; accumulated batches of one step share it
  const i64* step_there = nullptr;  ///< see ops::DropoutSite
  /// Each block keeps its input alone, and backward computes the rest again (autograd/checkpoint.hpp).
  bool checkpoint_layers = false;
  DType precision = DType::f32;  ///< of products: bf16, f16 (autograd/autocast.hpp)
};

/// Which token of which text each row of a packed tensor [R, …] is.
struct PackedRows {
  Tensor offsets;      ///< [B+1] i64: text b is rows offsets[b] … offsets[b+1] − 1
  Tensor example_id;   ///< [B] i64
  Tensor positions;    ///< [R] i64, index of the row's token in its text
  Tensor row_example;  ///< [R] i64, the example id of the row's text

  i64 texts() const { return example_id.size(); }
  PackedRows to(Device device) const;
};

// A batch lies on the host, and what a model needs of it goes to the device of the model's weights; or it was completed
// and brought there as a whole (BatchLayout).

/// Every token of the batch.
PackedRows all_rows(const Batch& batch);
/// The first token of every text: the row that a classifier reads. Throws Error for a text, on the host, that has none.
PackedRows first_rows(const Batch& batch);
/// The chosen tokens: the rows that a language model reads.
PackedRows chosen_rows(const Batch& batch);

}  // namespace minima::nn
