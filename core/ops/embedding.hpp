/// embedding: rows of a table by id.
///
///     w [V, d]   ids […] i64   →   y […, d]      y[i] = w[ids[i]]
///
/// f32 or f64. Throws Error for an id outside of 0 … V−1 (with its place; on a GPU later and without it:
/// core/cuda/wrong_value.hpp) and a w that is no matrix.
#pragma once

#include <optional>

#include "core/parameter.hpp"

namespace minima::ops {

Tensor embedding(const Tensor& w, const Tensor& ids);

/// The gradient of w [entries, d]: dy of equal ids is added in the order of their places; the row
/// `padding_idx` gets none. As rows, each id once, ascending; on a GPU with room for as many as there
/// may be (Gradient::rows).
Gradient embedding_backward(const Tensor& dy, const Tensor& ids, std::optional<i64> padding_idx,
                            i64 entries);

}  // namespace minima::ops
