/// Copies from the device's memory into a block's shared memory that run beside what the thread does meanwhile. Included by
/// `.cu` files.
#pragma once

#include "core/cuda/launch.hpp"
#include "core/pack.hpp"
#if !defined(__CUDACC__)
#include <vector>
#endif

namespace minima::MINIMA_BACKEND {

/// A thread's copies. The emulated device makes them as late as the real one may, in wait().
class AsyncCopies {
 public:
  /// N numbers, of 4, 8 or 16 bytes together, at addresses that are multiples of that.
  template <int N, class T>
  __device__ void start(T* to, const T* from) {
    using Word = Pack<T, N>;
#if !defined(__CUDACC__)
    copies_.push_back({to, from, [](void* to, const void* from) {
                         Word::load(static_cast<const T*>(from)).store(static_cast<T*>(to));
                       }});
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const auto at = static_cast<u32>(__cvta_generic_to_shared(to));
    if constexpr (sizeof(Word) == 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
    else
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(at), "l"(from),
                   "n"(sizeof(Word))
                   : "memory");
#else
    Word::load(from).store(to);
#endif
  }

  /// Until all of this thread are there; those of others are after a barrier.
  __device__ void wait() {
#if !defined(__CUDACC__)
    for (const auto& [to, from, make] : copies_) make(to, from);
    copies_.clear();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
  }

#if !defined(__CUDACC__)
 private:
  struct Copy {
    void* to;
    const void* from;
    void (*make)(void* to, const void* from);
  };
  std::vector<Copy> copies_;
#endif
};

}  // namespace minima::MINIMA_BACKEND
