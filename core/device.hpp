/// Devices, and the overloads that a backend is made of.
///
/// A structured op checks its arguments, allocates its result on its inputs' device, and calls
///
///     on_device(x.device(), [&](auto device) { layer_norm_forward(device, …); });
///
/// where `device` is a tag (`Cpu`). A backend is a set of overloads on its tag; there is no table
/// and no stub.
#pragma once

#include <fmt/format.h>

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

struct Cpu {};

template <class F>
decltype(auto) on_device(Device device, F&& f) {
  check(device.kind == Device::Kind::cpu, "device {}: this build computes on the cpu only",
        to_string(device));
  return f(Cpu{});
}

}  // namespace minima
