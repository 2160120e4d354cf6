/// Batch: texts packed one after another, without padding.
#pragma once

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

  i64 texts() const { return example_id.size(); }
  i64 length(i64 b) const { return offsets.data<i64>()[b + 1] - offsets.data<i64>()[b]; }
};

}  // namespace minima
