#include "core/buffer.hpp"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

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
  if (bytes <= 512) return (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
  const i64 step = std::bit_floor(static_cast<u64>(bytes)) / 8;
  return (bytes + step - 1) / step * step;
}

class CpuAllocator {
 public:
  std::byte* take(i64 bytes) {
    const i64 size = block_size(bytes);
    {
      std::lock_guard lock(mutex_);
      stats_.live += bytes;
      stats_.peak = std::max(stats_.peak, stats_.live);
      auto cached = cache_.find(size);
      if (cached != cache_.end() && !cached->second.empty()) {
        std::byte* block = cached->second.back();
        cached->second.pop_back();
        return block;
      }
      stats_.reserved += size;
      ++stats_.allocations;
    }
    const bool huge = size >= kHugePage;
    const auto ask = [&] {
      return static_cast<std::byte*>(std::aligned_alloc(
          static_cast<std::size_t>(huge ? kHugePage : 64),
          static_cast<std::size_t>(huge ? (size + kHugePage - 1) / kHugePage * kHugePage : size)));
    };
    std::byte* block = ask();
    if (!block) {
      release_cached();
      block = ask();
    }
    if (!block) {
      std::lock_guard lock(mutex_);
      stats_.live -= bytes;
      stats_.reserved -= size;
      fail_at_run_time(
          "memory: {} bytes cannot be had; {} are live; a smaller batch or model needs less", bytes,
          stats_.live);
    }
    if (huge) madvise(block, static_cast<std::size_t>(size), MADV_HUGEPAGE);
    return block;
  }

  void give_back(std::byte* block, i64 bytes) {
    const i64 size = block_size(bytes);
    std::lock_guard lock(mutex_);
    stats_.live -= bytes;
    if (MINIMA_CACHE_BLOCKS) {
      cache_[size].push_back(block);
    } else {
      std::free(block);
      stats_.reserved -= size;
    }
  }

  void release_cached() {
    std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : cache_) {
      for (std::byte* block : blocks) std::free(block);
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
  std::mutex mutex_;
  std::map<i64, std::vector<std::byte*>> cache_;
  MemoryStats stats_;
};

/// Never destroyed: tensors with static lifetime may outlive every other object.
CpuAllocator& allocator(Device device) {
  check(device.kind == Device::Kind::cpu, "memory: this build has no allocator for {}",
        to_string(device));
  static CpuAllocator& cpu = *new CpuAllocator;
  return cpu;
}

}  // namespace

MemoryStats memory_stats(Device device) { return allocator(device).stats(); }
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).release_cached(); }

std::shared_ptr<std::byte> allocate(i64 bytes, Device device) {
  CpuAllocator& from = allocator(device);
  return {from.take(bytes), [&from, bytes](std::byte* block) { from.give_back(block, bytes); }};
}

}  // namespace minima
