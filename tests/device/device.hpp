/// The device that these tests hold against the CPU, and what it tells of its work.
#pragma once

#include <cstdlib>

#include "tests/emulated/device/device.hpp"
#include "tests/support.hpp"

namespace minima::test {

/// The emulated one, or what MINIMA_TEST_DEVICE names (cuda; see `./run gpu-check`).
inline const Device kDevice = [] {
  const char* name = std::getenv("MINIMA_TEST_DEVICE");
  return parse_device(name ? name : "emulated");
}();

/// Whether memory that is given back is kept for the next tensor. Where AddressSanitizer watches, it is freed at once,
/// for which the host waits.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kKeepsMemory = false;
#else
inline constexpr bool kKeepsMemory = true;
#endif

/// How often the host has waited for the device so far, but to free memory. A GPU does not tell: 0.
inline i64 waits() {
  const bool told = kKeepsMemory && kDevice.kind == Device::Kind::emulated;
  return told ? emulated::waits() : 0;
}

/// How many products with an epilogue there were; of a GPU nobody counts them: 0.
inline i64 epilogues() {
  return kDevice.kind == Device::Kind::emulated ? emulated::epilogues() : 0;
}

/// How often it has queued something: kernels, copies, recordings.
inline i64 calls() { return kDevice.kind == Device::Kind::emulated ? emulated::calls() : 0; }

/// Whether the tensor, brought here, has the type, shape and bytes of the other.
inline bool same_bytes(const Tensor& found, const Tensor& expected) {
  return same_bits(found.to(Device{}), expected);
}

}  // namespace minima::test
