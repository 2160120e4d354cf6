#include "core/buffer.hpp"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/cuda/memory.hpp"
#include "core/memory_pool.hpp"
#include "core/on_device.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define MINIMA_CACHE_BLOCKS false  // a cached block would hide a use after free from the sanitizer
#else
#define MINIMA_CACHE_BLOCKS true
#endif

namespace minima {
namespace {

constexpr i64 kHugePage = i64{2} << 20;

/// The size really taken for a request: a multiple of 64 with at most four significant bits, so
/// that requests that differ a little share blocks.
i64 block_size(i64 bytes) {
  if (bytes <= 512) return round_up(std::max<i64>(bytes, 1), 64);
  const i64 step = std::bit_floor(static_cast<u64>(bytes)) / 8;
  return round_up(bytes, step);
}

using Cache = std::map<i64, std::vector<std::byte*>>;  ///< free blocks by size

struct Block {
  std::byte* at = nullptr;
  i64 size = 0;
};

/// The smallest free block of `size` to `most` bytes; null where there is none.
Block take_from(Cache& cache, i64 size, i64 most) {
  for (auto found = cache.lower_bound(size); found != cache.end() && found->first <= most;
       ++found) {
    if (found->second.empty()) continue;
    const Block block{found->second.back(), found->first};
    found->second.pop_back();
    return block;
  }
  return {};
}

/// A cache of blocks, over memory that somebody has. Some may be in a pool instead, which is null elsewhere.
class Allocator {
 public:
  explicit Allocator(Device device) : device_(device) {}
  virtual ~Allocator() = default;

  Block take(i64 bytes, Cache* pool) {
    const i64 size = size_of(bytes);
    {
      std::lock_guard lock(mutex_);
      Block cached = pool ? take_from(*pool, size, 2 * size) : Block{};
      if (!cached.at) cached = take_from(cache_, size, most_for(size));
      if (cached.at) {
        count(bytes);
        reuse(cached.at, cached.size);
        return cached;
      }
    }
    Block block{obtain_within(size), size};
    if (!block.at && !pool) {  // with a pool, work is recorded, and nothing can be released
      release_cached();
      block.at = obtain_within(size);
    }
    std::lock_guard lock(mutex_);
    if (!block.at)
      throw Error(
          fmt::format("memory: {} bytes cannot be had on {}; {} are live; a smaller batch or "
                      "model needs less",
                      bytes, to_string(device_), stats_.live),
          Fault::memory);
    stats_.reserved += size;
    ++stats_.allocations;
    count(bytes);
    return block;
  }

  void give_back(const Block& block, i64 bytes, Cache* pool) {
    std::lock_guard lock(mutex_);
    stats_.live -= bytes;
    if (pool)
      (*pool)[block.size].push_back(block.at);
    else
      keep(block.at, block.size);
  }
  void take_back(const Cache& pool) {
    std::lock_guard lock(mutex_);
    for (const auto& [size, blocks] : pool)
      for (std::byte* block : blocks) keep(block, size);
  }

  void release_cached() {
    std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : cache_) {
      for (std::byte* block : blocks) release(block);
      stats_.reserved -= size * static_cast<i64>(blocks.size());
    }
    cache_.clear();
  }

  MemoryStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }

 private:
  std::byte* obtain_within(i64 size) {
    return stats().reserved > most() - size ? nullptr : obtain(size);
  }
  void count(i64 bytes) {
    stats_.live += bytes;
    stats_.peak = std::max(stats_.peak, stats_.live);
  }
  void keep(std::byte* block, i64 size) {
    if (MINIMA_CACHE_BLOCKS) {
      cache_[size].push_back(block);
    } else {
      release(block);
      stats_.reserved -= size;
    }
  }

  virtual i64 size_of(i64 bytes) const = 0;
  /// The largest block that serves where one of `size` would: so batches of many sizes share few.
  virtual i64 most_for(i64 size) const { return 2 * size; }
  virtual i64 most() const { return std::numeric_limits<i64>::max(); }  ///< to be reserved
  virtual std::byte* obtain(i64 size) = 0;  ///< null when there is no more
  virtual void release(std::byte* block) = 0;
  virtual void reuse(std::byte*, i64) {}

  Device device_;
  std::mutex mutex_;
  Cache cache_;
  MemoryStats stats_;
};

class SystemMemory final : public Allocator {
 public:
  SystemMemory() : Allocator({}) {}

 private:
  i64 most() const override { return system_memory(); }
  /// To the byte where a sanitizer watches the bounds.
  i64 size_of(i64 bytes) const override { return MINIMA_CACHE_BLOCKS ? block_size(bytes) : bytes; }
  std::byte* obtain(i64 size) override {
    const bool huge = size >= kHugePage;
    if (huge && MINIMA_CACHE_BLOCKS) size = round_up(size, kHugePage);
    void* block = nullptr;
    const int failed = posix_memalign(&block, static_cast<std::size_t>(huge ? kHugePage : 64),
                                      static_cast<std::size_t>(size));
    if (failed) return nullptr;
    if (huge) madvise(block, static_cast<std::size_t>(size), MADV_HUGEPAGE);
    return static_cast<std::byte*>(block);
  }
  void release(std::byte* block) override { std::free(block); }
};

/// A block that is given back may still be read by work that is queued; so may the next owner's work
/// be, behind it.
template <AnyGpu Gpu>
class GpuMemory final : public Allocator {
 public:
  explicit GpuMemory(Device device) : Allocator(device), gpu_{device.index} {
    require_present(gpu_);
  }

 private:
  static constexpr bool kExact = std::same_as<Gpu, emulated::Gpu>;  ///< it watches the bounds

  i64 size_of(i64 bytes) const override { return kExact ? bytes : block_size(bytes); }
  i64 most_for(i64 size) const override { return kExact ? size : 2 * size; }
  std::byte* obtain(i64 size) override { return minima::obtain(gpu_, size); }
  void release(std::byte* block) override { minima::release(gpu_, block); }
  void reuse(std::byte* block, i64 size) override { before_reuse(gpu_, block, size); }

  Gpu gpu_;
};

// Never destroyed: tensors with static lifetime may outlive every other object.

Allocator& allocator_of(Cpu, Device) {
  static Allocator& cpu = *new SystemMemory;
  return cpu;
}

template <AnyGpu Gpu>
Allocator& allocator_of(Gpu gpu, Device device) {
  static std::mutex& mutex = *new std::mutex;
  static auto& gpus = *new std::map<int, std::unique_ptr<Allocator>>;
  std::lock_guard lock(mutex);
  std::unique_ptr<Allocator>& found = gpus[gpu.index];
  if (!found) found = std::make_unique<GpuMemory<Gpu>>(device);
  return *found;
}

Allocator& allocator(Device device) {
  return on_device(device, [device](auto tag) -> Allocator& { return allocator_of(tag, device); });
}

}  // namespace

namespace {

/// The number, of bytes, behind `key` in /proc/meminfo, which counts in kilobytes; 0 where it says nothing.
double meminfo(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  double kilobytes = 0;
  for (std::string word; file >> word;)
    if (word == key && file >> kilobytes) return 1024 * kilobytes;
  return 0;
}

/// What the container may use; none where it has no limit.
std::optional<double> container_limit() {
  for (const char* name :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (double bytes = 0; std::ifstream(name) >> bytes) return bytes;
  return {};
}

}  // namespace

i64 system_memory() {
  static const i64 bytes = [] {
    const double all = meminfo("MemTotal:") + meminfo("SwapTotal:");
    const double least = std::min(all, container_limit().value_or(all));
    return least > 0 ? static_cast<i64>(least) : std::numeric_limits<i64>::max();
  }();
  return bytes;
}

i64 available_memory() {
  const double free = meminfo("MemAvailable:") + meminfo("SwapFree:");
  return free > 0 ? std::min(system_memory(), static_cast<i64>(free)) : system_memory();
}

MemoryStats memory_stats(Device device) { return allocator(device).stats(); }
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).release_cached(); }

struct MemoryPool::Blocks {
  std::function<void(Cache&)> take_back;
  Cache cache;
  ~Blocks() { take_back(cache); }
};

namespace {
thread_local const MemoryPool* pool_in_use = nullptr;
}  // namespace

MemoryPool::MemoryPool(Device device)
    : device_(device),
      blocks_(
          new Blocks{[&owner = allocator(device)](Cache& cache) { owner.take_back(cache); }, {}}) {}
MemoryPool::Use::Use(const MemoryPool& pool) : before_(std::exchange(pool_in_use, &pool)) {}
MemoryPool::Use::~Use() { pool_in_use = before_; }

std::shared_ptr<std::byte> allocate(i64 bytes, Device device) {
  Allocator& from = allocator(device);
  const bool apart = pool_in_use && pool_in_use->device_ == device;
  const auto pool = apart ? pool_in_use->blocks_ : nullptr;
  const Block block = from.take(bytes, pool ? &pool->cache : nullptr);
  return {block.at, [&from, block, bytes, pool](std::byte*) {
            from.give_back(block, bytes, pool ? &pool->cache : nullptr);
          }};
}

}  // namespace minima
