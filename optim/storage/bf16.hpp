/// bf16: the upper half of a float, rounded to nearest even.
#pragma once

#include "core/dtype.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

struct Bf16Storage {
  MINIMA_HD static float* open(const SlotView& slot, i64 begin, i64 n, float* scratch) {
    const bf16* values = static_cast<const bf16*>(slot.values) + begin;
    for (i64 i = 0; i < n; ++i) scratch[i] = static_cast<float>(values[i]);
    return scratch;
  }
  MINIMA_HD static void close(const SlotView& slot, i64 begin, i64 n, const float* scratch) {
    bf16* values = static_cast<bf16*>(slot.values) + begin;
    for (i64 i = 0; i < n; ++i) values[i] = bf16(scratch[i]);
  }
};

}  // namespace minima
