/// Recording: work of a GPU that is queued again as a whole, by one call in place of one for each kernel: a CUDA graph.
///
///     const MemoryPool pool(x.device());
///     Tensor y;
///     const Recording recording(pool, [&] { y = ops::softmax(x, 1); });   // nothing is computed yet
///     x.copy_from(…);
///     recording.replay();                                              // y is that of the new x
///
/// What the host decided while it recorded stays so: shapes, numbers that kernels were given by value, and addresses. So
/// whatever was there before and is read must stay where it is (x above), and what is made meanwhile comes from the pool.
/// Recordings of one pool share their memory: what a replay wrote is there until the next replay of any of them, but for
/// tensors that somebody held while the later ones were recorded.
#pragma once

#include <functional>
#include <memory>

#include "core/memory_pool.hpp"

namespace minima {

class Recording {
 public:
  /// Calls `work`, whose work on the pool's device is recorded and not done; so would be what another thread queues there
  /// meanwhile. Throws Error where it copies from or to the host.
  Recording(const MemoryPool& pool, const std::function<void()>& work);

  /// Queues it, behind what is queued already.
  void replay() const;

 private:
  MemoryPool pool_;
  std::shared_ptr<void> graph_;
};

}  // namespace minima
