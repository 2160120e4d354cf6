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

Device parse_device(const std::string& name) {
  if (name == "cpu") return {};
  if (name == "emulated") return {Device::Kind::emulated, 0};
  if (name == "cuda") return {Device::Kind::cuda, 0};
  const std::string digits = name.starts_with("cuda:") ? name.substr(5) : "";
  check(!digits.empty() && digits.size() <= 3 &&
            digits.find_first_not_of("0123456789") == std::string::npos,
        "device '{}': it can be cpu, cuda, cuda:N or emulated", name);
  return {Device::Kind::cuda, std::stoi(digits)};
}

}  // namespace minima
