/// CopyAhead: numbers that go to a GPU while it computes on those before.
///
///     const auto ahead = copy_ahead(device);
///     ahead->begin(first);
///     for (…) {
///       const Tensor x = ahead->take();       // what is queued from here on finds it there
///       …                                     // queue the work on x
///       ahead->begin(next);                   // goes on meanwhile; `next` may be changed at once
///     }
#pragma once

#include <memory>

#include "core/tensor.hpp"

namespace minima {

class CopyAhead {
 public:
  virtual ~CopyAhead() = default;

  /// Begins to copy `values` [n] i64, which lie on the host, in place of what was begun and not taken.
  virtual void begin(const Tensor& values) = 0;
  /// What was begun last, on the device, which waits for it where it must; the host does not. It keeps its values for all
  /// work that is queued before the next take(). Throws Error where nothing was begun.
  virtual Tensor take() = 0;
};

/// On the cpu, where nothing is ahead of anything, it hands over the tensor itself.
std::unique_ptr<CopyAhead> copy_ahead(Device device);

}  // namespace minima
