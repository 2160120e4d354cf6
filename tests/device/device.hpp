/// The device that these tests hold against the CPU: the emulated one, or what MINIMA_TEST_DEVICE names (cuda; see
/// `./run gpu-check`).
#pragma once

#include <cstdlib>

#include "core/device.hpp"
#include "tests/emulated/device/device.hpp"

namespace minima::test {

inline Device device_under_test() {
  const char* name = std::getenv("MINIMA_TEST_DEVICE");
  return parse_device(name ? name : "emulated");
}

/// How often the host has waited for the device so far. A GPU does not tell: 0.
inline i64 waits() {
  return device_under_test().kind == Device::Kind::emulated ? emulated::waits() : 0;
}

}  // namespace minima::test
