/// The threads of a block as fibers on the calling thread. A fiber runs one thread after another until one of them waits;
/// that one keeps its fiber, and another fiber goes on with the rest. So a kernel whose threads never wait costs no switch
/// at all.
#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"

namespace minima::emulated {
namespace {

using boost::context::fiber;

/// The numbers below n, each once, in an order that (first, step) determines; step and n have no common divisor.
class Order {
 public:
  explicit Order(u64 n) : n_(n), at_(random_number() % n), step_(random_number() % n) {
    while (std::gcd(step_, n_) != 1) step_ = (step_ + 1) % n_;
  }
  u64 next() { return at_ = (at_ + step_) % n_; }

 private:
  u64 n_, at_, step_;
};

enum class State { unstarted, running, at_warp, at_barrier, done };

struct Worker {
  fiber here, scheduler;
};

struct Lane {
  Thread thread;
  State state = State::unstarted;
  Worker* worker = nullptr;  ///< whose fiber it waits on
  unsigned mask = 0;
  u64 given = 0;
  bool yes = false;
  Where where = Where();
};

struct Scheduler {
  Block block;
  std::vector<Lane> lanes;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<Worker*> idle;
  std::vector<u64> given;  ///< to each lane of a warp that has met
  unsigned votes = 0;
  Lane* current = nullptr;
  Worker* running = nullptr;
  const Kernel* kernel = nullptr;
  std::unique_ptr<Order> order;
  u64 unstarted = 0;
  std::exception_ptr error;

  void run_block(const Kernel& work, const Block& with);
  void start_lanes(Worker& worker);
  void go_on(Worker& worker);
  void wait(State state);
  bool release();
  Worker& idle_worker();
  [[noreturn]] void complain() const;
};

thread_local Scheduler* scheduler = nullptr;

void Scheduler::start_lanes(Worker&) {
  while (unstarted > 0 && !error) {
    Lane& lane = lanes[order->next()];
    --unstarted;
    current = &lane;
    thread = &lane.thread;
    lane.state = State::running;
    kernel->run();
    lane.state = State::done;
  }
}

Worker& Scheduler::idle_worker() {
  if (idle.empty()) {
    Worker& worker = *workers.emplace_back(std::make_unique<Worker>());
    worker.here = fiber(std::allocator_arg, boost::context::fixedsize_stack(256 << 10),
                        [this, &worker](fiber&& caller) {
                          worker.scheduler = std::move(caller);
                          for (;;) {
                            try {
                              start_lanes(worker);
                            } catch (const boost::context::detail::forced_unwind&) {
                              throw;
                            } catch (...) {
                              current->state = State::done;
                              error = std::current_exception();
                            }
                            idle.push_back(&worker);
                            worker.scheduler = std::move(worker.scheduler).resume();
                          }
                          return fiber();
                        });
    idle.push_back(&worker);
  }
  Worker& worker = *idle.back();
  idle.pop_back();
  return worker;
}

void Scheduler::go_on(Worker& worker) {
  running = &worker;
  worker.here = std::move(worker.here).resume();
}

/// Called by a kernel's thread; returns when the others have come.
void Scheduler::wait(State state) {
  Lane& lane = *current;
  Worker& worker = *running;
  lane.state = state;
  lane.worker = &worker;
  worker.scheduler = std::move(worker.scheduler).resume();
  current = &lane;
  thread = &lane.thread;
  lane.state = State::running;
}

/// Lets those go on who wait for nobody any more: warps first. False where there are none.
bool Scheduler::release() {
  std::vector<Lane*> ready;
  const std::size_t n = lanes.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (lanes[i].state != State::at_warp) continue;
    const std::size_t first = i / 32 * 32;
    const unsigned mask = lanes[i].mask;
    bool all = true;
    for (std::size_t l = 0; l < 32 && all; ++l)
      if ((mask >> l) & 1)
        all = first + l < n && lanes[first + l].state == State::at_warp &&
              lanes[first + l].mask == mask &&
              lanes[first + l].where.line() == lanes[i].where.line();
    if (!all) continue;
    for (std::size_t l = 0; l < 32; ++l)
      if ((mask >> l) & 1) {
        given[first + l] = lanes[first + l].given;
        lanes[first + l].state = State::running;
        ready.push_back(&lanes[first + l]);
      }
  }
  if (ready.empty()) {
    votes = 0;
    for (const Lane& lane : lanes) {
      if (lane.state != State::at_barrier || lane.where.line() != lanes[0].where.line())
        return false;
      votes += lane.yes;
    }
    for (Lane& lane : lanes) ready.push_back(&lane);
  }
  Order turn(ready.size());
  for (std::size_t k = 0; k < ready.size() && !error; ++k) go_on(*ready[turn.next()]->worker);
  return true;
}

void Scheduler::complain() const {
  std::size_t done = 0;
  const Lane *barrier = nullptr, *other = nullptr, *warp = nullptr;
  for (const Lane& lane : lanes) {
    if (lane.state == State::done) ++done;
    if (lane.state == State::at_warp) warp = &lane;
    if (lane.state != State::at_barrier) continue;
    if (barrier && barrier->where.line() != lane.where.line()) other = &lane;
    if (!barrier) barrier = &lane;
  }
  if (warp)
    fail(
        "emulated device: not all lanes of the mask {:#x} reach {}:{}; {} of {} threads have ended",
        warp->mask, warp->where.file_name(), warp->where.line(), done, lanes.size());
  if (other)
    fail("emulated device: some threads wait at the barrier {}:{}, others at {}:{}",
         barrier->where.file_name(), barrier->where.line(), other->where.file_name(),
         other->where.line());
  fail("emulated device: {} of {} threads ended before the barrier {}:{} of the others", done,
       lanes.size(), barrier->where.file_name(), barrier->where.line());
}

void Scheduler::run_block(const Kernel& work, const Block& with) {
  kernel = &work;
  block = with;
  error = nullptr;
  const u64 n = u64{with.size.x} * with.size.y * with.size.z;
  lanes.resize(n);
  given.assign((n + 31) / 32 * 32, 0);
  for (unsigned i = 0; i < n; ++i)
    lanes[i] = {.thread = {dim3(i % with.size.x, i / with.size.x % with.size.y,
                                i / with.size.x / with.size.y),
                           i, &block}};
  order = std::make_unique<Order>(n);
  unstarted = n;
  while (unstarted > 0 && !error) go_on(idle_worker());
  const auto ended = [&] {
    return std::ranges::all_of(lanes, [](const Lane& lane) { return lane.state == State::done; });
  };
  try {
    while (!error && !ended())
      if (!release()) complain();
    if (error) std::rethrow_exception(error);
  } catch (...) {
    idle.clear();
    workers.clear();  // unwinds the threads that still wait
    throw;
  }
}

/// The kernels that have run; written at the end to the file MINIMA_EMULATED_KERNELS, for tests/emulated/kernels.py: where
/// `run` lies, then each of them.
class Log {
 public:
  void add(const void* code) {
    if (!file_) return;
    const std::lock_guard lock(mutex_);
    codes_.insert(code);
  }
  ~Log() {
    if (!file_) return;
    std::ofstream file(file_);
    file << reinterpret_cast<const void*>(&run) << '\n';
    for (const void* code : codes_) file << code << '\n';
  }

 private:
  const char* file_ = std::getenv("MINIMA_EMULATED_KERNELS");
  std::mutex mutex_;
  std::set<const void*> codes_;
};

}  // namespace

unsigned meet_block(bool yes, const Where& where) {
  scheduler->current->yes = yes;
  scheduler->current->where = where;
  scheduler->wait(State::at_barrier);
  return scheduler->votes;
}

const u64* meet_warp(unsigned mask, u64 value, const Where& where) {
  Lane& lane = *scheduler->current;
  const unsigned number = lane.thread.number;
  check((mask >> (number % 32)) & 1,
        "emulated device: lane {} is not in its own mask {:#x}, at {}:{}", number % 32, mask,
        where.file_name(), where.line());
  lane.mask = mask;
  lane.given = value;
  lane.where = where;
  scheduler->wait(State::at_warp);
  return scheduler->given.data() + number / 32 * 32;
}

u64 random_number() {
  static thread_local u64 state = [] {
    const char* seed = std::getenv("MINIMA_EMULATED_SEED");
    return seed ? std::strtoull(seed, nullptr, 10) : 1;
  }();
  u64 x = state += 0x9E3779B97F4A7C15u;  // SplitMix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

void run(const Kernel& kernel) {
  static Log log;
  log.add(kernel.code);
  if (!scheduler) scheduler = new Scheduler;  // its fibers are used again
  const u64 blocks = u64{kernel.grid.x} * kernel.grid.y * kernel.grid.z;
  std::vector<u64> shared(kernel.shared_bytes / 8 + 2);
  Order order(blocks);
  for (u64 k = 0; k < blocks; ++k) {
    const u64 i = order.next();
    std::ranges::fill(shared, ~u64{0});
    scheduler->run_block(kernel, {kernel.grid, kernel.size,
                                  dim3(static_cast<unsigned>(i % kernel.grid.x),
                                       static_cast<unsigned>(i / kernel.grid.x % kernel.grid.y),
                                       static_cast<unsigned>(i / kernel.grid.x / kernel.grid.y)),
                                  shared.data()});
    check(std::all_of(shared.begin() + static_cast<std::ptrdiff_t>((kernel.shared_bytes + 7) / 8),
                      shared.end(), [](u64 x) { return x == ~u64{0}; }),
          "emulated device: a kernel wrote behind its {} bytes of shared memory",
          kernel.shared_bytes);
  }
}

}  // namespace minima::emulated
