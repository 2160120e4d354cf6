/// The emulated device: enough of CUDA for the host compiler to compile and run the project's `.cu` files
/// on any machine. For tests only; compile with
///
///     c++ -x c++ -include tests/emulated/device.hpp optim/engine.cu …        link with boost_context
///
/// The threads of a block are fibers on the calling thread: one runs until it waits at a barrier or a
/// shuffle, then the next. Blocks run one after another. A kernel in which some threads wait at a barrier
/// that others never reach ends in an Error, where a GPU might hang. What it cannot show: speed, and the
/// order of memory accesses between blocks.
#pragma once

#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/types.hpp"

#define MINIMA_BACKEND emulated
#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define threadIdx (::minima::emulated::current->index)
#define blockIdx (::minima::emulated::block->index)
#define blockDim (::minima::emulated::block->size)
#define gridDim (::minima::emulated::block->grid)
#define MINIMA_DYNAMIC_SHARED(T) reinterpret_cast<T*>(::minima::emulated::block->shared.data())

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace minima::emulated {

inline constexpr unsigned kWarp = 32;

enum class Waiting { no, for_warp, for_block, done };

struct Thread {
  dim3 index;
  Waiting waiting = Waiting::no;
  boost::context::fiber fiber;   ///< where the thread goes on
  boost::context::fiber caller;  ///< where the scheduler goes on
  std::uint64_t exchanged = 0;   ///< a shuffle's value
};

struct Block {
  dim3 grid, size, index;
  std::vector<std::uint64_t> shared;
  std::vector<Thread> threads;
};

inline thread_local Block* block = nullptr;
inline thread_local Thread* current = nullptr;

inline void wait(Waiting what) {
  Thread* self = current;
  self->waiting = what;
  self->caller = std::move(self->caller).resume();
  current = self;
}

/// Runs every thread of the block to its end.
inline void run(Block& work) {
  block = &work;
  const auto release = [](Thread& thread) { thread.waiting = Waiting::no; };
  for (;;) {
    for (Thread& thread : work.threads) {
      if (thread.waiting != Waiting::no) continue;
      current = &thread;
      thread.fiber = std::move(thread.fiber).resume();
      if (!thread.fiber) thread.waiting = Waiting::done;
    }
    std::size_t done = 0, at_barrier = 0;
    bool progress = false;
    for (std::size_t first = 0; first < work.threads.size(); first += kWarp) {
      const std::size_t last = std::min(first + kWarp, work.threads.size());
      std::size_t at_shuffle = 0, gone = 0;
      for (std::size_t i = first; i < last; ++i) {
        at_shuffle += work.threads[i].waiting == Waiting::for_warp;
        at_barrier += work.threads[i].waiting == Waiting::for_block;
        gone += work.threads[i].waiting == Waiting::done;
      }
      done += gone;
      if (at_shuffle > 0 && at_shuffle + gone == last - first) {
        for (std::size_t i = first; i < last; ++i)
          if (work.threads[i].waiting == Waiting::for_warp) release(work.threads[i]);
        progress = true;
      }
    }
    if (done == work.threads.size()) return;
    if (progress) continue;
    check(at_barrier + done == work.threads.size(),
          "emulated device: {} of {} threads wait at a barrier, the others at a shuffle",
          at_barrier, work.threads.size());
    check(done == 0, "emulated device: {} of {} threads ended before a barrier of the others", done,
          work.threads.size());
    for (Thread& thread : work.threads) release(thread);
  }
}

/// Runs the kernel, block after block.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 size, std::size_t shared_bytes,
            Arguments... arguments) {
  check(size.y == 1 && size.z == 1 && size.x >= 1 && size.x <= 1024,
        "emulated device: a block of {} × {} × {} threads", size.x, size.y, size.z);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        Block work{
            grid, size, dim3(x, y, z), std::vector<std::uint64_t>((shared_bytes + 7) / 8), {}};
        work.threads.resize(size.x);
        for (unsigned i = 0; i < size.x; ++i) {
          Thread& thread = work.threads[i];
          thread.index = dim3(i, 0, 0);
          thread.fiber = boost::context::fiber(
              std::allocator_arg, boost::context::fixedsize_stack(256 << 10),
              [&thread, kernel, arguments...](boost::context::fiber&& caller) {
                thread.caller = std::move(caller);
                kernel(arguments...);
                return std::move(thread.caller);
              });
        }
        run(work);
      }
}

inline void exchange(std::uint64_t bits) {
  current->exchanged = bits;
  wait(Waiting::for_warp);
}

inline std::uint64_t of_lane(unsigned lane) {
  const std::size_t warp = current->index.x / kWarp * kWarp;
  const std::size_t from = warp + lane % kWarp;
  return from < block->threads.size() ? block->threads[from].exchanged : current->exchanged;
}

/// The value that `lane` gave; all lanes take part.
template <class T>
T shuffle(T value, unsigned lane) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  exchange(bits);
  const std::uint64_t found = of_lane(lane);
  wait(Waiting::for_warp);  // nobody gives another value before everybody has read this one
  T result;
  std::memcpy(&result, &found, sizeof(T));
  return result;
}

}  // namespace minima::emulated

inline void __syncthreads() { ::minima::emulated::wait(::minima::emulated::Waiting::for_block); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ::minima::emulated::shuffle(
      value, (threadIdx.x % ::minima::emulated::kWarp) ^ static_cast<unsigned>(mask));
}
