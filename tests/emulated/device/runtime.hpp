/// What the parts of the emulated device share.
#pragma once

#include "tests/emulated/device/device.hpp"

namespace minima::emulated {

/// Device memory can be touched while one of these lives: by kernels and copies.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

/// Whether the bytes lie within one block of device memory.
bool on_device(const void* at, std::size_t bytes);
/// Whether they lie in memory of cudaMallocHost.
bool pinned(const void* at, std::size_t bytes);

/// What a call returns; an error is kept for cudaGetLastError.
cudaError_t done(cudaError_t error = cudaSuccess);

/// Runs a kernel, block after block. Throws Error where its threads do not meet.
void run(const Kernel& kernel);

/// Queues work in a stream, or adds it to what the stream is captured into. Fails when there is no such stream, or when
/// its capture has failed.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

/// Whether a call that might wait is refused to this thread by a capture, which it then spoils.
bool spoils_capture();

/// Numbers for the order of blocks and threads.
u64 random_number();

}  // namespace minima::emulated
