/// The threads of a block as fibers on the calling thread. A fiber runs one thread after another until one of them waits;
/// that one keeps its fiber, and another fiber goes on with the rest. So a kernel whose threads never wait costs no switch
/// at all. Under ThreadSanitizer each thread has a fiber of its own, and several blocks are under way at once
/// (sanitizers.hpp).
#include <algorithm>
#include <array>
#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <semaphore>
#include <set>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"
#include "tests/emulated/device/sanitizers.hpp"

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
  Stack stack;
  Strand strand;
};

struct Lane {
  Thread thread;
  State state = State::unstarted;
  Worker* worker = nullptr;  ///< whose fiber it runs on
  unsigned mask = 0;
  bool orders_memory = false;
  u64 given = 0;
  bool yes = false;
  Where where = Where();
};

/// Shared memory of a block, piece by piece: NaN at first, and what is behind a piece stays as it was.
class SharedMemory {
 public:
  void begin_block() {
    allow(room_.data(), used_);
    pieces_.clear();
    used_ = asked_ = 0;
  }
  void* piece(const void* declared, std::size_t bytes) {
    const auto known = std::ranges::find(pieces_, declared, &Piece::declared);
    if (known != pieces_.end()) return known->at;
    asked_ += bytes;
    check(asked_ <= static_cast<std::size_t>(machine().shared_bytes),
          "emulated device: a block has {} bytes of shared memory, the device {}", asked_,
          machine().shared_bytes);
    const std::size_t size = bytes / kAlignment * kAlignment + 2 * kAlignment;
    const Piece& piece = pieces_.emplace_back(Piece{declared, room_.data() + used_, bytes, size});
    used_ += size;
    std::memset(piece.at, 0xff, size);
    forbid(piece.at + bytes, size - bytes);
    return piece.at;
  }
  void check_guards() {
    allow(room_.data(), used_);
    for (const Piece& piece : pieces_)
      check(std::all_of(piece.at + piece.bytes, piece.at + piece.size,
                        [](std::byte b) { return b == std::byte{0xff}; }),
            "emulated device: a kernel wrote behind its {} bytes of shared memory", piece.bytes);
  }

 private:
  static constexpr std::size_t kAlignment = 16;
  struct Piece {
    const void* declared;  ///< null: the dynamic one
    std::byte* at;
    std::size_t bytes, size;  ///< without and with the guard
  };
  std::vector<std::byte> room_ = std::vector<std::byte>(256 << 10);  // more than any GPU has
  std::size_t used_ = 0, asked_ = 0;  ///< of it with guards and without
  std::vector<Piece> pieces_;
};

/// Runs the blocks of one thread of the host.
struct Scheduler {
  Block block;
  std::vector<Lane> lanes;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<Worker*> idle;
  std::vector<u64> given;  ///< to each lane of a warp that has met
  unsigned votes = 0;
  Lane* current = nullptr;
  Worker* running = nullptr;
  Stack stack;  ///< the scheduler's own
  SharedMemory shared;
  const Kernel* kernel = nullptr;
  std::unique_ptr<Order> order;
  u64 unstarted = 0;
  std::exception_ptr error;

  ~Scheduler() { dismiss_workers(); }
  void run_block(const Kernel& work, u64 number);
  void run_lanes();
  void start_lanes(Worker& worker);
  void go_on(Worker& worker);
  void leave(Worker& worker);
  void wait(State state);
  bool release();
  Worker& idle_worker();
  void hire_worker();
  void dismiss_workers();
  void end_block(const Worker& worker);
  [[noreturn]] void complain() const;
};

thread_local Scheduler* scheduler = nullptr;
char before_kernel, after_kernel;  ///< what strands acquire and release

void Scheduler::start_lanes(Worker& worker) {
  do {
    Lane& lane = lanes[order->next()];
    --unstarted;
    current = &lane;
    thread = &lane.thread;
    lane.state = State::running;
    lane.worker = &worker;
    worker.strand.enter();
    kernel->run();
    Strand::leave();
    lane.state = State::done;
  } while (unstarted > 0 && !error && !kStrands);
}

void Scheduler::hire_worker() {
  Worker& worker = *workers.emplace_back(std::make_unique<Worker>());
  boost::context::fixedsize_stack stacks(256 << 10);
  const boost::context::stack_context stack = stacks.allocate();
  worker.stack = {static_cast<const std::byte*>(stack.sp) - stack.size, stack.size};
  worker.here = fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack),
                      stacks, [this, &worker](fiber&& caller) {
                        worker.stack.end_switch_from(this->stack);
                        worker.scheduler = std::move(caller);
                        try {
                          for (;;) {
                            try {
                              start_lanes(worker);
                            } catch (const boost::context::detail::forced_unwind&) {
                              throw;
                            } catch (...) {
                              Strand::leave();
                              current->state = State::done;
                              error = std::current_exception();
                            }
                            if (!kStrands) idle.push_back(&worker);
                            leave(worker);
                          }
                        } catch (const boost::context::detail::forced_unwind&) {
                          Strand::leave();
                          end_block(worker);
                          Strand::host_acquires(this);
                          worker.stack.begin_switch_to(this->stack, true);
                          throw;
                        }
                        return fiber();
                      });
  idle.push_back(&worker);
}

/// Unwinds the lanes that still wait.
void Scheduler::dismiss_workers() {
  idle.clear();
  for (const std::unique_ptr<Worker>& worker : workers) {
    stack.begin_switch_to(worker->stack, false);
    worker->here = fiber();
    stack.end_switch_from(worker->stack);
  }
  workers.clear();
}

/// What its lane did comes before what the host does, and the next block here.
void Scheduler::end_block(const Worker& worker) {
  worker.strand.release(this);
  worker.strand.release(&after_kernel);
}

Worker& Scheduler::idle_worker() {
  if (idle.empty()) hire_worker();
  Worker& worker = *idle.back();
  idle.pop_back();
  return worker;
}

void Scheduler::go_on(Worker& worker) {
  running = &worker;
  stack.begin_switch_to(worker.stack, false);
  worker.here = std::move(worker.here).resume();
  stack.end_switch_from(worker.stack);
}

/// The way back from go_on; returns, or throws where the worker is dismissed, when there is more to do.
void Scheduler::leave(Worker& worker) {
  struct Return {
    Stack &here, &from;
    ~Return() { here.end_switch_from(from); }
  };
  worker.stack.begin_switch_to(stack, false);
  const Return back{worker.stack, stack};
  worker.scheduler = std::move(worker.scheduler).resume();
}

/// Called by a kernel's thread; returns when the others have come.
void Scheduler::wait(State state) {
  Lane& lane = *current;
  struct Reenter {
    const Strand& strand;
    ~Reenter() { strand.enter(); }
  };
  const Reenter back{lane.worker->strand};
  Strand::leave();
  lane.state = state;
  leave(*lane.worker);
  current = &lane;
  thread = &lane.thread;
  lane.state = State::running;
}

/// What each lane did comes before all that any of them does from now on.
void order_memory(std::span<Lane* const> lanes) {
  if (!kStrands) return;
  Worker* const meeting = lanes.front()->worker;
  for (const Lane* lane : lanes) lane->worker->strand.release(meeting);
  for (const Lane* lane : lanes) lane->worker->strand.acquire(meeting);
}

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && std::string_view(a.file_name()) == b.file_name();
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
              lanes[first + l].mask == mask && same_place(lanes[first + l].where, lanes[i].where);
    if (!all) continue;
    const std::size_t met = ready.size();
    for (std::size_t l = 0; l < 32; ++l)
      if ((mask >> l) & 1) {
        given[first + l] = lanes[first + l].given;
        lanes[first + l].state = State::running;
        ready.push_back(&lanes[first + l]);
      }
    if (lanes[i].orders_memory) order_memory(std::span(ready).subspan(met));
  }
  if (ready.empty()) {
    votes = 0;
    for (const Lane& lane : lanes) {
      if (lane.state != State::at_barrier || !same_place(lane.where, lanes[0].where)) return false;
      votes += lane.yes;
    }
    for (Lane& lane : lanes) ready.push_back(&lane);
    order_memory(ready);
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
    if (barrier && !same_place(barrier->where, lane.where)) other = &lane;
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

void Scheduler::run_block(const Kernel& work, u64 number) {
  kernel = &work;
  const auto [x, y, z] = work.grid;
  Strand::host_acquires(this);
  shared.begin_block();
  block = {work.grid, work.size,
           dim3(static_cast<unsigned>(number % x), static_cast<unsigned>(number / x % y),
                static_cast<unsigned>(number / x / y)),
           shared.piece(nullptr, work.shared_bytes)};
  try {
    run_lanes();
  } catch (...) {
    dismiss_workers();
    throw;
  }
  shared.check_guards();
}

void Scheduler::run_lanes() {
  error = nullptr;
  const auto [x, y, z] = kernel->size;
  const u64 n = u64{x} * y * z;
  lanes.resize(n);
  given.assign((n + 31) / 32 * 32, 0);
  for (unsigned i = 0; i < n; ++i)
    lanes[i] = {.thread = {dim3(i % x, i / x % y, i / x / y), i, &block}};
  if (kStrands) {  // a fiber for each lane; they come after the host, and after the last block here
    while (workers.size() < n) hire_worker();
    idle.clear();
    Strand::host_releases(this);
    for (const std::unique_ptr<Worker>& worker : workers) {
      worker->strand.acquire(&before_kernel);
      worker->strand.acquire(this);
      idle.push_back(worker.get());
    }
  }
  order = std::make_unique<Order>(n);
  unstarted = n;
  while (unstarted > 0 && !error) go_on(idle_worker());
  const auto ended = [&] {
    return std::ranges::all_of(lanes, [](const Lane& lane) { return lane.state == State::done; });
  };
  while (!error && !ended())
    if (!release()) complain();
  if (error) std::rethrow_exception(error);
  for (const std::unique_ptr<Worker>& worker : workers) end_block(*worker);
}

/// A thread of the host that runs blocks, one at a time. ThreadSanitizer sees nothing of semaphores, so that they order no
/// block behind another.
class Place {
 public:
  void run(const std::function<void()>& work) {
    work_ = &work;
    begin_.release();
    end_.acquire();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr error_;
  std::binary_semaphore begin_{0}, end_{0};
  std::thread thread_{[this] {
    for (;;) {
      begin_.acquire();
      try {
        (*work_)();
      } catch (...) {
        error_ = std::current_exception();
        Strand::host_releases(&after_kernel);
      }
      end_.release();
    }
  }};
};

/// What ThreadSanitizer has reported so far.
std::atomic<i64> reports = 0;

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

void* shared_at(const void* declared, std::size_t bytes) {
  return scheduler->shared.piece(declared, bytes);
}

unsigned meet_block(bool yes, const Where& where) {
  scheduler->current->yes = yes;
  scheduler->current->where = where;
  scheduler->wait(State::at_barrier);
  return scheduler->votes;
}

const u64* meet_warp(unsigned mask, u64 value, bool orders_memory, const Where& where) {
  Lane& lane = *scheduler->current;
  const unsigned number = lane.thread.number;
  check((mask >> (number % 32)) & 1,
        "emulated device: lane {} is not in its own mask {:#x}, at {}:{}", number % 32, mask,
        where.file_name(), where.line());
  lane.mask = mask;
  lane.orders_memory = orders_memory;
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
  const u64 blocks = u64{kernel.grid.x} * kernel.grid.y * kernel.grid.z;
  Order order(blocks);
  const std::function<void()> run_next = [&] {
    if (!scheduler) scheduler = new Scheduler;  // its fibers are used again
    scheduler->run_block(kernel, order.next());
  };
  if (!kStrands) {
    for (u64 k = 0; k < blocks; ++k) run_next();
    return;
  }
  static auto& places = *new std::array<Place, 4>;
  const i64 before = reports;
  const auto wait = [](void*) { Strand::host_acquires(&after_kernel); };
  {
    Strand::host_releases(&before_kernel);
    const std::unique_ptr<void, decltype(wait)> after(&after_kernel, wait);
    for (u64 k = 0; k < blocks; ++k) places[k % places.size()].run(run_next);
  }
  check(reports == before,
        "emulated device: a race between threads of a kernel; ThreadSanitizer has said where");
}

}  // namespace minima::emulated

#if defined(MINIMA_SANITIZE_THREAD)
extern "C" {
void __tsan_on_report(void*) { ++minima::emulated::reports; }
/// A race is an Error already. What the host calls (memcpy, …) is not looked at: its threads are not compiled for it.
const char* __tsan_default_options() {
  return "exitcode=0:report_thread_leaks=0:ignore_interceptors_accesses=1";
}
}
#endif
