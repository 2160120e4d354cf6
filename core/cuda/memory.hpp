/// The memory of a GPU and its queue, as seen from the host. Everything is queued in the device's one stream,
/// in order, but copies that go ahead (core/copy_ahead.hpp); of copies only `copy_to_host` waits. Defined in memory.cu for the `Gpu` of each backend.
#pragma once

#include <cstddef>

#include "core/device.hpp"
#include "core/types.hpp"

namespace minima {

/// Throws Error when there is no such device, or no driver.
template <AnyGpu Gpu>
void require_present(Gpu gpu);

/// 90 for compute capability 9.0.
template <AnyGpu Gpu>
int capability_of(Gpu gpu);

/// Null when the device has no more.
template <AnyGpu Gpu>
std::byte* obtain(Gpu gpu, i64 bytes);
template <AnyGpu Gpu>
void release(Gpu gpu, std::byte* block);
/// Before a block is used a second time: the emulated device fills it with NaN.
template <AnyGpu Gpu>
void before_reuse(Gpu gpu, std::byte* block, i64 bytes);

template <AnyGpu Gpu>
void copy_to_device(Gpu gpu, void* to, const void* from, i64 bytes);
/// Waits for all that was queued. Throws the Error of a value that a kernel found wrong
/// (core/cuda/wrong_value.hpp).
template <AnyGpu Gpu>
void copy_to_host(Gpu gpu, void* to, const void* from, i64 bytes);
template <AnyGpu Gpu>
void copy_within(Gpu gpu, void* to, const void* from, i64 bytes);
template <AnyGpu Gpu>
void fill_with_zeros(Gpu gpu, void* at, i64 bytes);

/// What is queued until the end is recorded and not done (core/recording.hpp).
template <AnyGpu Gpu>
void begin_recording(Gpu gpu);
/// What `replay` queues. Throws Error (run time) where something was done meanwhile that cannot be recorded.
template <AnyGpu Gpu>
void* end_recording(Gpu gpu);
template <AnyGpu Gpu>
void abandon_recording(Gpu gpu);
template <AnyGpu Gpu>
void replay(Gpu gpu, void* recording);
template <AnyGpu Gpu>
void forget_recording(Gpu gpu, void* recording);

}  // namespace minima
