/// From a device, known when the program runs, to the tag that a kernel is overloaded on. Which
/// backends there are is decided when the library is built; only sources of the library include this.
#pragma once

#include "core/device.hpp"

namespace minima {

template <class F>
decltype(auto) on_device(Device device, F&& f) {
  switch (device.kind) {
    case Device::Kind::cpu:
      return f(Cpu{});
#if defined(MINIMA_CUDA)
    case Device::Kind::cuda:
      return f(cuda::Gpu{device.index});
#endif
#if defined(MINIMA_EMULATED)
    case Device::Kind::emulated:
      return f(emulated::Gpu{device.index});
#endif
    default:
      fail(
          "device {}: this build does not know it; it was made without MINIMA_CUDA or "
          "MINIMA_EMULATED",
          to_string(device));
  }
}

}  // namespace minima
