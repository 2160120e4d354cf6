/// Wrong values that only the device sees: ids, targets, offsets. A kernel notes the first of them; the
/// host throws it as an Error when it next waits for the device (copy_to_host, core/cuda/memory.hpp), so
/// that a step needs no look in between.
#pragma once

#include "core/cuda/launch.hpp"

namespace minima::MINIMA_BACKEND {

/// A value outside of 0 … high − 1, or an offset that breaks the rise from 0 to high − 1.
struct WrongValue {
  enum Kind : unsigned { none, outside, offset };
  unsigned found;  ///< a Kind
  const char* op;  ///< the host's pointer
  i64 value, high;
};

WrongValue* wrong_value_of(Gpu gpu);  ///< in the device's memory

}  // namespace minima::MINIMA_BACKEND
