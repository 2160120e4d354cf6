/// Memory. One caching allocator per device; it counts live and peak bytes.
///
/// A freed block goes back to the allocator, not to the operating system, and serves the next
/// request of about its size, or down to half of it, so that a steady training step takes nothing
/// from the operating system, and batches of many sizes do not take a block for each. Blocks of
/// 2 MiB and more are aligned to huge pages and the kernel is advised to use them.
#pragma once

#include <memory>

#include "core/device.hpp"
#include "core/types.hpp"

namespace minima {

/// Bytes as requested (the allocator's own rounding is left out), so that a prediction can be
/// exact.
struct MemoryStats {
  i64 live = 0;         ///< allocated now
  i64 peak = 0;         ///< the most that was ever live since the last reset_peak_memory
  i64 reserved = 0;     ///< taken from the operating system: live, cached and rounding
  i64 allocations = 0;  ///< requests that had to go to the operating system
};

MemoryStats memory_stats(Device device = {});
void reset_peak_memory(Device device = {});
/// Gives all cached blocks back to the operating system.
void release_cached_memory(Device device = {});

/// Bytes that the host can give a process at most: what is installed and swap, or what its container is allowed.
i64 system_memory();
/// How many of these nobody uses now, as far as the system tells.
i64 available_memory();

/// A block of `bytes` bytes, uninitialized, aligned to 64; it returns to the allocator when the
/// last owner lets go. Throws Error (Fault::memory), naming the bytes asked for and live, when the
/// device has no more; of the host's, when all together would be more than system_memory(): the system promises more than
/// there is, and ends a program that takes it at its word.
std::shared_ptr<std::byte> allocate(i64 bytes, Device device = {});

}  // namespace minima
