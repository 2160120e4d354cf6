/// Batch: texts packed one after another, without padding.
#pragma once

#include <compare>

#include "core/tensor.hpp"

namespace minima {

/// Text b is tokens[offsets[b]] … tokens[offsets[b+1] − 1]. Only attention and pooling need the
/// offsets.
struct Batch {
  Tensor tokens;     ///< [T] i64, vocabulary ids
  Tensor positions;  ///< [T] i64, each token's index within its text
  Tensor offsets;    ///< [B+1] i64, from 0 to T
  /// [B] i64, unique within an optimizer step: dropout masks are keyed by its low 32 bits.
  Tensor example_id;
  /// What a loss compares with, i64: [B], of each text, or [M], of the chosen tokens. −1: there is none; −100: not counted.
  Tensor labels;
  /// [T] i64, for models that tell the texts of a pair apart: 0 in the first, 1 in the second.
  /// Undefined: all 0.
  Tensor token_types = {};
  /// [M] i64, ascending: the tokens that a loss reads, as a language model's does. Undefined: it reads whole texts.
  Tensor chosen = {};

  // What follows from the others. completed() works it out; where it is missing models do, on the host.
  Tensor row_example = {};  ///< [T] i64, the example id of each token's text
  Tensor text_rows = {};    ///< [B+1] i64: 0 … B
  /// [B+1] i64: text b has the chosen ones chosen_offsets[b] … chosen_offsets[b+1] − 1.
  Tensor chosen_offsets = {};
  Tensor chosen_positions = {};  ///< [M] i64
  Tensor chosen_example = {};    ///< [M] i64

  i64 texts() const { return example_id.size(); }
  i64 length(i64 b) const { return offsets.data<i64>()[b + 1] - offsets.data<i64>()[b]; }
};

/// The batch with all that follows from the others. What is missing is worked out on the host, where the batch must lie then.
/// Throws Error where its tokens, positions, offsets and chosen do not fit together.
Batch completed(Batch batch);

/// How the tensors of a completed batch lie in one stretch of numbers, which one copy brings to a device.
struct BatchLayout {
  i64 tokens = 0, texts = 0;
  i64 chosen = -1;     ///< −1: the loss reads whole texts
  bool pairs = false;  ///< whether there are token_types

  explicit BatchLayout(const Batch& batch);
  i64 size() const;
  /// The numbers [size] of a batch that lies on the host.
  Tensor numbers(const Batch& batch) const;
  /// The batch whose numbers these are, as views of them.
  Batch in(const Tensor& numbers) const;

  friend auto operator<=>(const BatchLayout&, const BatchLayout&) = default;
};

/// The batch, which lies on the host, and behind its texts some that no loss sees, so that shapes repeat: in all there is
/// one text more than a multiple of 16, and `multiple` divides the tokens, and the chosen ones. The further labels are
/// −100, the further tokens like the first, so that no other row of a table is looked up.
Batch filled_up(const Batch& batch, i64 multiple);

}  // namespace minima
