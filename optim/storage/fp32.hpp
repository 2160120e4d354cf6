/// fp32: the values themselves.
#pragma once

#include "optim/storage/storage.hpp"

namespace minima {

struct Fp32Storage {
  MINIMA_HD static float* open(const SlotView& slot, i64 begin, i64, float*) {
    return static_cast<float*>(slot.values) + begin;
  }
  MINIMA_HD static void close(const SlotView&, i64, i64, const float*) {}
};

}  // namespace minima
