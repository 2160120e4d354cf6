/// Device memory: a stretch of addresses that nobody may touch but while kernels run.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"
#include "tests/emulated/device/sanitizers.hpp"

namespace minima::emulated {
namespace {

constexpr std::size_t kAlignment = 256,
                      kGuard = 256;     // bytes behind each block that stay as they were
constexpr std::size_t kPage = 2 << 20;  // a large one: opening and closing takes time by the page
constexpr int kPoison = 0xff;           // NaN in every float type, −1 in every integer

class Arena {
 public:
  Arena() {
    if (const char* bytes = std::getenv("MINIMA_EMULATED_MEMORY"))
      capacity_ = std::strtoull(bytes, nullptr, 10);
    addresses_ = (2 * capacity_ + (std::size_t{1} << 30)) / kPage * kPage;
    std::size_t bytes = addresses_ + kPage;
    void* found =
        mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED)
      fail_at_run_time("emulated device: {} bytes of addresses cannot be had", addresses_);
    base_ = static_cast<std::byte*>(std::align(kPage, addresses_, found, bytes));
    madvise(base_, addresses_, MADV_HUGEPAGE);  // where the system has none, it only takes longer
    free_[0] = addresses_;
  }

  void* take(std::size_t bytes) {
    const std::size_t size =
        (std::max<std::size_t>(bytes, 1) + kGuard + kAlignment - 1) / kAlignment * kAlignment;
    if (used_ + bytes > std::min(capacity_, machine().memory_bytes)) return nullptr;
    const auto hole = std::ranges::find_if(free_, [&](const auto& h) { return h.second >= size; });
    if (hole == free_.end()) return nullptr;
    const auto [at, length] = *hole;
    free_.erase(hole);
    if (length > size) free_[at + size] = length - size;
    used_ += bytes;
    reached_ = std::max(reached_, (at + size + kPage - 1) / kPage * kPage);
    blocks_[at] = {bytes, size};
    const Access access;
    allow(base_ + at, size);
    std::memset(base_ + at, kPoison, size);
    forbid(base_ + at + bytes, size - bytes);
    return base_ + at;
  }

  bool give_back(void* block) {
    const auto found = blocks_.find(offset(block));
    if (found == blocks_.end()) return false;
    auto [at, extent] = *found;
    {
      const Access access;
      check_guard(at, extent);
      allow(base_ + at, extent.size);
      std::memset(base_ + at, kPoison, extent.size);
      forbid(base_ + at, extent.size);
    }
    blocks_.erase(found);
    used_ -= extent.bytes;
    const auto next = free_.lower_bound(at);
    if (next != free_.end() && at + extent.size == next->first) {
      extent.size += next->second;
      free_.erase(next);
    }
    const auto after = free_.lower_bound(at);
    if (after != free_.begin())
      if (auto before = std::prev(after); before->first + before->second == at) {
        before->second += extent.size;
        return true;
      }
    free_[at] = extent.size;
    return true;
  }

  void check_guards() const {
    const Access access;
    for (const auto& [at, extent] : blocks_) check_guard(at, extent);
  }

  bool holds(const void* at, std::size_t bytes) const {
    const auto begin = static_cast<const std::byte*>(at);
    if (begin < base_ || begin >= base_ + addresses_) return false;
    auto block = blocks_.upper_bound(offset(at));
    if (block == blocks_.begin()) return false;
    --block;
    return offset(at) + bytes <= block->first + block->second.bytes;
  }

  void open(int protection) {
    if (reached_ > 0 && mprotect(base_, reached_, protection) != 0)
      fail_at_run_time("emulated device: memory cannot be protected");
  }

  std::size_t capacity() const { return capacity_; }
  std::size_t used() const { return used_; }

 private:
  struct Extent {
    std::size_t bytes, size;
  };
  void check_guard(std::size_t at, const Extent& extent) const {
    const std::byte *end = base_ + at + extent.size, *guard = base_ + at + extent.bytes;
    allow(guard, extent.size - extent.bytes);
    const bool whole = std::all_of(guard, end, [](std::byte b) { return b == std::byte{kPoison}; });
    forbid(guard, extent.size - extent.bytes);
    check(whole, "emulated device: something was written behind a block of {} bytes", extent.bytes);
  }
  std::size_t offset(const void* at) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(at) - base_);
  }

  std::size_t capacity_ = std::size_t{8} << 30, addresses_ = 0, used_ = 0, reached_ = 0;
  std::byte* base_ = nullptr;
  std::map<std::size_t, std::size_t> free_;  ///< offset → bytes
  std::map<std::size_t, Extent> blocks_;
};

Arena& arena() {
  static Arena& arena = *new Arena;
  return arena;
}
std::recursive_mutex memory_mutex;
int accesses = 0;
std::map<const std::byte*, std::size_t> host_blocks;

}  // namespace

Access::Access() {
  memory_mutex.lock();
  if (accesses++ == 0) arena().open(PROT_READ | PROT_WRITE);
}
Access::~Access() {
  if (--accesses == 0) arena().open(PROT_NONE);
  memory_mutex.unlock();
}

bool on_device(const void* at, std::size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  return arena().holds(at, bytes);
}

bool pinned(const void* at, std::size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  const auto begin = static_cast<const std::byte*>(at);
  auto block = host_blocks.upper_bound(begin);
  return block != host_blocks.begin() &&
         begin + bytes <= std::prev(block)->first + std::prev(block)->second;
}

void check_bounds() {
  cudaDeviceSynchronize();
  const std::lock_guard lock(memory_mutex);
  arena().check_guards();
}

void inspect(const std::function<void()>& f) {
  const Access access;
  f();
}

Machine& machine() {
  static Machine machine;
  return machine;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = machine().runtime;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (machine().driver < machine().runtime) return done(cudaErrorInsufficientDriver);
  *count = machine().devices;
  return done(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  return done(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const Machine& m = machine();
  *value = attribute == cudaDevAttrMultiProcessorCount      ? m.multiprocessors
           : attribute == cudaDevAttrComputeCapabilityMajor ? m.capability / 10
           : attribute == cudaDevAttrComputeCapabilityMinor ? m.capability % 10
                                                            : m.shared_bytes;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock(memory_mutex);
  *total = arena().capacity();
  *free = arena().capacity() - arena().used();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  if (spoils_capture()) return done(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard lock(memory_mutex);
  *block = arena().take(bytes);
  return done(*block ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* block) {
  if (!block) return cudaSuccess;
  if (const cudaError_t error = cudaDeviceSynchronize(); error != cudaSuccess) return error;
  const std::lock_guard lock(memory_mutex);
  return done(arena().give_back(block) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  if (spoils_capture()) return done(cudaErrorStreamCaptureUnsupported);
  if (bytes > machine().pinned_bytes) return done(cudaErrorMemoryAllocation);
  const std::lock_guard lock(memory_mutex);
  *block = std::malloc(std::max<std::size_t>(bytes, 1));
  if (!*block) return done(cudaErrorMemoryAllocation);
  std::memset(*block, kPoison, bytes);
  host_blocks[static_cast<std::byte*>(*block)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* block) {
  if (const cudaError_t error = cudaDeviceSynchronize(); error != cudaSuccess) return error;
  const std::lock_guard lock(memory_mutex);
  if (block && host_blocks.erase(static_cast<std::byte*>(block)) == 0)
    return done(cudaErrorInvalidValue);
  std::free(block);
  return cudaSuccess;
}

}  // namespace minima::emulated
