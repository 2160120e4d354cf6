#include "core/device.hpp"

namespace minima {

std::string to_string(Device device) {
  switch (device.kind) {
    case Device::Kind::cuda:
      return fmt::format("cuda:{}", device.index);
    case Device::Kind::emulated:
      return "emulated";
    case Device::Kind::cpu:
      break;
  }
  return "cpu";
}

}  // namespace minima
