/// MemoryPool: blocks of a device that are set apart, for work that is recorded (core/recording.hpp).
#pragma once

#include "core/buffer.hpp"

namespace minima {

/// What the thread allocates on the device while a `Use` lives comes from the pool, and returns to it whenever it is freed:
/// nobody else is given its address. A block may serve what asks for half of it, so that work of many sizes shares few. The
/// blocks go back to the allocator when the pool and the last of their owners are gone.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);
  Device device() const { return device_; }

  class Use {
   public:
    explicit Use(const MemoryPool& pool);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const MemoryPool* before_;
  };

 private:
  friend std::shared_ptr<std::byte> allocate(i64 bytes, Device device);
  struct Blocks;

  Device device_;
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace minima
