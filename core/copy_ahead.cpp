#include "core/copy_ahead.hpp"

#include "core/cuda/copy_ahead.hpp"
#include "core/on_device.hpp"

namespace minima {
namespace {

class HandOver final : public CopyAhead {
  void begin(const Tensor& values) override { values_ = values.clone(); }
  Tensor take() override {
    check(values_.defined(), "copy ahead: nothing was begun");
    return std::exchange(values_, {});
  }
  Tensor values_;
};

std::unique_ptr<CopyAhead> copy_ahead_on(Cpu) { return std::make_unique<HandOver>(); }

}  // namespace

std::unique_ptr<CopyAhead> copy_ahead(Device device) {
  return on_device(device, [](auto tag) { return copy_ahead_on(tag); });
}

}  // namespace minima
