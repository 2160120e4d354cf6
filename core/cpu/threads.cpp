#include "core/cpu/threads.hpp"

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace minima {
namespace {

thread_local bool in_task = false;

/// One call of run_tasks. A worker may come late and hold it after the caller has gone on; it then finds no task left and
/// never touches `f`.
struct Job {
  Job(i64 tasks, void (*call)(const void*, i64), const void* f) : tasks(tasks), call(call), f(f) {}

  i64 tasks;
  void (*call)(const void*, i64);
  const void* f;
  std::atomic<i64> next{0}, done{0};
  std::mutex mutex{};
  i64 failed = tasks;          ///< the lowest task that has
  std::exception_ptr error{};  ///< its own; written before it is done

  void help() {
    in_task = true;
    for (i64 i = next++; i < tasks; i = next++) {
      i64 ended = 1;
      try {
        call(f, i);
      } catch (...) {
        // The rest is not begun. Whatever a task that was begun may wait for was begun before it.
        ended += std::max<i64>(tasks - next.exchange(tasks), 0);
        const std::lock_guard lock(mutex);
        if (i < failed) {
          failed = i;
          error = std::current_exception();
        }
      }
      if ((done += ended) == tasks) done.notify_all();
    }
    in_task = false;
  }
};

class Pool {
 public:
  explicit Pool(int workers) {
    try {
      for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // The system gives no more. Fewer compute the same bits.
    }
  }
  ~Pool() {
    stop_ = true;
    announce(nullptr);
    for (std::thread& worker : workers_) worker.join();
  }

  void run(i64 tasks, void (*call)(const void*, i64), const void* f) {
    const auto job = std::make_shared<Job>(tasks, call, f);
    announce(job);
    job->help();
    for (i64 done = job->done; done != tasks; done = job->done) wait_for_change(job->done, done);
    if (job->error) std::rethrow_exception(job->error);
  }

 private:
  void announce(std::shared_ptr<Job> job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = std::move(job);
    }
    ++announced_;
    announced_.notify_all();
  }

  void work() {
    for (u32 seen = 0;;) {
      wait_for_change(announced_, seen);
      seen = announced_;
      if (stop_) return;
      std::shared_ptr<Job> job;
      {
        const std::lock_guard lock(mutex_);
        job = job_;
      }
      if (job) job->help();
    }
  }

  std::mutex mutex_;
  std::shared_ptr<Job> job_;
  std::atomic<u32> announced_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

/// The pool in use; held while tasks run, so that a second thread of the user's computes alone instead of waiting.
struct Shared {
  std::mutex mutex;
  std::atomic<int> threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::unique_ptr<Pool> pool;
};

/// Never destroyed: a program may end while its threads sleep.
Shared& shared() {
  static Shared& only = *new Shared;
  return only;
}

}  // namespace

int threads() { return shared().threads; }

void set_threads(int n) {
  const std::lock_guard lock(shared().mutex);
  shared().threads = std::max(n, 1);
  shared().pool.reset();
}

namespace detail {

void run_tasks(i64 tasks, void (*call)(const void*, i64), const void* f) {
  Shared& all = shared();
  std::unique_lock lock(all.mutex, std::defer_lock);
  if (tasks < 2 || in_task || all.threads == 1 || !lock.try_lock()) {
    for (i64 i = 0; i < tasks; ++i) call(f, i);
    return;
  }
  if (!all.pool) all.pool = std::make_unique<Pool>(all.threads - 1);
  all.pool->run(tasks, call, f);
}

}  // namespace detail
}  // namespace minima
