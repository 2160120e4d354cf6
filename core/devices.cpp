#include "core/devices.hpp"

#include "core/cuda/memory.hpp"
#include "core/on_device.hpp"

namespace minima {
namespace {

#if defined(MINIMA_CUDA)
constexpr bool kCuda = true;
#else
constexpr bool kCuda = false;
#endif
#if defined(MINIMA_EMULATED)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

}  // namespace

void require_device(Device device) {
  check(kCuda || device.kind != Device::Kind::cuda,
        "device {}: this program was built without CUDA; build it where a CUDA Toolkit is "
        "(-DMINIMA_CUDA=ON says what is missing), or take the cpu (--device cpu)",
        to_string(device));
  check(
      kEmulated || device.kind != Device::Kind::emulated,
      "device emulated: this program was built without it; it is for tests: configure a build with "
      "-DMINIMA_EMULATED=ON");
  on_device(device, [](auto tag) {
    if constexpr (AnyGpu<decltype(tag)>) require_present(tag);
  });
}

int compute_capability(Device device) {
  return on_device(device, [](auto tag) {
    if constexpr (AnyGpu<decltype(tag)>)
      return capability_of(tag);
    else
      return 0;
  });
}

Device default_device() {
  const Device gpu{Device::Kind::cuda, 0};
  try {
    require_device(gpu);
  } catch (const Error&) {
    return {};
  }
  return gpu;
}

}  // namespace minima
