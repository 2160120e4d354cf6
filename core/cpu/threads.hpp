/// Threads. Work is split into tasks by shapes alone; who runs which task never changes a bit.
///
/// The pool is our own rather than OpenMP's for one reason: here the caller waits for the tasks, not for the threads. Where
/// other programs use the cores, a thread that the system has not woken yet holds nobody up, and the caller does its share.
/// (With OpenMP, every region ends in a barrier of all threads: on two cores with other work on them a training step took
/// ten times as long.) An idle thread looks for work for some microseconds and then sleeps.
#pragma once

#include <algorithm>
#include <atomic>

#include "core/types.hpp"

namespace minima {

/// How many threads compute, the caller included; as many as the machine has cores until set. Fewer do where the system
/// starts no more.
int threads();
/// Fewer than one count as one. Not within a task.
void set_threads(int n);

namespace detail {

/// call(f, i) for each i < tasks, on all threads.
void run_tasks(i64 tasks, void (*call)(const void* f, i64 i), const void* f);

}  // namespace detail

/// Calls f(i) for each i < tasks, on all threads, and returns when all are done. Tasks are begun in rising order; one may
/// wait for an earlier one that waits for nobody and cannot throw, and must not depend on the order otherwise. When a task
/// throws no more are begun, and what the lowest of those that did has thrown is thrown here, after the others that were
/// begun have ended. Within a task it runs on the calling thread alone.
template <class F>
void parallel_for(i64 tasks, const F& f) {
  if (tasks == 1) return f(i64{0});
  detail::run_tasks(
      tasks, [](const void* function, i64 i) { (*static_cast<const F*>(function))(i); }, &f);
}

/// Calls f(begin, end) for consecutive chunks of [0, n); a chunk's borders are multiples of `chunk`.
template <class F>
void parallel_chunks(i64 n, i64 chunk, const F& f) {
  parallel_for(ceil_div(n, chunk), [&](i64 i) { f(i * chunk, std::min(n, (i + 1) * chunk)); });
}

/// Waits until `value` is no longer `old`: looks again and again for a moment (a sleeping thread takes tens of microseconds
/// to come back), then sleeps until whoever changed it notifies.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  for (int look = 0; look < 4000; ++look) {
    if (value.load() != old) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  value.wait(old);
}

}  // namespace minima
