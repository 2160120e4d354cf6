/// Devices, and the tags that choose a kernel.
///
/// A structured op checks its arguments, allocates its result on its inputs' device, and calls
///
///     on_device(x.device(), [&](auto device) { forward(device, …); });        // core/on_device.hpp
///
/// where `device` is a tag: `Cpu`, or the `Gpu` of a backend, which says which one. A backend is a set
/// of overloads on its tag; there is no table and no stub.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>

#include "core/error.hpp"

namespace minima {

struct Device {
  enum class Kind { cpu, cuda, emulated };
  Kind kind = Kind::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

std::string to_string(Device device);  ///< "cpu", "cuda:0", "emulated"
/// The device of that name ("cuda" is "cuda:0"). Throws Error for any other.
Device parse_device(const std::string& name);

struct Cpu {};
namespace cuda {
struct Gpu {
  int index = 0;
};
}  // namespace cuda
namespace emulated {
/// The device that the tests emulate (tests/emulated/device/device.hpp).
struct Gpu {
  int index = 0;
};
}  // namespace emulated

template <class Tag>
concept AnyGpu = std::same_as<Tag, cuda::Gpu> || std::same_as<Tag, emulated::Gpu>;

/// Throws Error that names the op, for one that has no kernel elsewhere.
inline void require_cpu(const char* op, Device device) {
  check(device.kind == Device::Kind::cpu,
        "{}: has no kernel for device {}; bring its operands to the cpu with to(Device{{}})", op,
        to_string(device));
}

}  // namespace minima
