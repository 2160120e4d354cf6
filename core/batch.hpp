/// Batch: texts packed one after another, without padding.
#pragma once

#include <compare>

#include "core/tensor.hpp"

namespace minima {

/// Text b is tokens[offsets[b]] … tokens[offsets[b+1] − 1]. Only attention and pooling need the
/// offsets.
struct Batch {
  Tensor tokens;      ///< [T] i64, vocabulary ids
  Tensor positions;   ///< [T] i64, each token's index within its text
  Tensor offsets;     ///< [B+1] i64, from 0 to T
  Tensor example_id;  ///< [B] i64, unique within an optimizer step; dropout masks are keyed by it
  Tensor labels;      ///< [B] i64; −1 where there is none
  /// [T] i64, for models that tell the texts of a pair apart: 0 in the first, 1 in the second.
  /// Undefined: all 0.
  Tensor token_types = {};

  // What follows from the others, of a batch that a BatchLayout has laid out: no model has to form it on the host.
  Tensor row_example = {};  ///< [T] i64, the example id of each token's text
  Tensor text_rows = {};    ///< [B+1] i64: 0 … B

  i64 texts() const { return example_id.size(); }
  i64 length(i64 b) const { return offsets.data<i64>()[b + 1] - offsets.data<i64>()[b]; }
};

/// How the tensors of a batch lie in one stretch of numbers, which one copy brings to a device.
struct BatchLayout {
  i64 tokens = 0, texts = 0;
  bool pairs = false;  ///< whether there are token_types

  explicit BatchLayout(const Batch& batch);
  i64 size() const { return (pairs ? 4 : 3) * tokens + 4 * texts + 2; }
  /// The numbers [size] of a batch that lies on the host.
  Tensor numbers(const Batch& batch) const;
  /// The batch whose numbers these are, as views of them.
  Batch in(const Tensor& numbers) const;

  friend auto operator<=>(const BatchLayout&, const BatchLayout&) = default;
};

/// The batch, which lies on the host, and behind its texts some that no loss sees, so that shapes repeat: in all there is
/// one text more than a multiple of 16, and a multiple of `tokens` of tokens. Their label is −100, their tokens are 0 and
/// stand at 0.
Batch filled_up(const Batch& batch, i64 tokens);

}  // namespace minima
