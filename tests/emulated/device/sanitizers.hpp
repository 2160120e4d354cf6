/// What the sanitizers are told about the threads of a block, which are fibers; nothing, in a build without sanitizers.
///
/// ThreadSanitizer (-DMINIMA_SANITIZE=thread) takes a Strand for a thread. Each thread of a block is one, and nothing
/// orders what two of them do but __syncthreads and __syncwarp: it sees a race in whatever order they ran here.
/// AddressSanitizer (-DMINIMA_SANITIZE=address) must know on which stack the program goes on.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined( \
    MINIMA_SANITIZE_THREAD)  // the kernels are compiled for it, the emulated device itself is not
#include <sanitizer/tsan_interface.h>
#endif

namespace minima::emulated {

#if defined(MINIMA_SANITIZE_THREAD)

inline constexpr bool kStrands = true;

class Strand {
 public:
  Strand() { host(); }
  ~Strand() { __tsan_destroy_fiber(id_); }
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  /// From here on the program does what the strand does,
  void enter() const { to(id_); }
  /// and from here on it is the host again.
  static void leave() { to(host()); }

  /// What others did before they released `at` comes before what the strand does from now on.
  void acquire(void* at) const {
    enter();
    host_acquires(at);
    leave();
  }
  void release(void* at) const {
    enter();
    host_releases(at);
    leave();
  }
  static void host_acquires(void* at) { __tsan_acquire(at); }
  static void host_releases(void* at) { __tsan_release(at); }

 private:
  static void to(void* id) { __tsan_switch_to_fiber(id, __tsan_switch_to_fiber_no_sync); }
  static void* host() {
    static thread_local void* const id = __tsan_get_current_fiber();
    return id;
  }
  void* id_ = __tsan_create_fiber(0);
};

#else

inline constexpr bool kStrands = false;

struct Strand {
  void enter() const {}
  static void leave() {}
  void acquire(void*) const {}
  void release(void*) const {}
  static void host_acquires(void*) {}
  static void host_releases(void*) {}
};

#endif

/// A stack, before and after the program goes over to it.
struct Stack {
  const void* bottom = nullptr;
  std::size_t size = 0;
  void* frames = nullptr;  ///< the sanitizer's own

  void begin_switch_to([[maybe_unused]] const Stack& other, [[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &frames, other.bottom, other.size);
#endif
  }
  /// `from` becomes known.
  void end_switch_from([[maybe_unused]] Stack& from) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(frames, &from.bottom, &from.size);
#endif
  }
};

/// Whoever touches such bytes is told of.
inline void forbid([[maybe_unused]] const void* at, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(at, bytes);
#endif
}
inline void allow([[maybe_unused]] const void* at, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(at, bytes);
#endif
}

}  // namespace minima::emulated
