/// Ids, targets and offsets that lie on a GPU: looked at there, without waiting (core/cuda/wrong_value.hpp).
#pragma once

#include <limits>

#include "core/device.hpp"
#include "core/types.hpp"

namespace minima {

inline constexpr i64 kNone = std::numeric_limits<i64>::min();

/// Notes one of n values that is neither in 0 … high − 1 nor `except`. `op` is a literal: the Error
/// that comes later says it. Kernels that use the values must do no harm by them.
template <AnyGpu Gpu>
void note_outside(Gpu gpu, const char* op, i64 n, const i64* values, i64 high, i64 except = kNone);
/// The same for n offsets that must rise from 0 to `rows`.
template <AnyGpu Gpu>
void note_offsets(Gpu gpu, const char* op, i64 n, const i64* offsets, i64 rows);

}  // namespace minima
