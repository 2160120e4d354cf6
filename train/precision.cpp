#include "train/precision.hpp"

#include <array>

#include "core/devices.hpp"
#include "core/error.hpp"

namespace minima {
namespace {

constexpr std::array<std::string_view, 3> kNonFinite{"stop", "skip", "lower-scale"};
constexpr std::array<std::string_view, 4> kPrecisions{"fp32", "tf32", "bf16", "fp16"};
constexpr i64 kGoodSteps = 1000;  ///< after which a scale doubles

}  // namespace

std::span<const std::string_view> choices(NonFinite) { return kNonFinite; }
std::span<const std::string_view> choices(Precision) { return kPrecisions; }
DType product_type(Precision precision) {
  return precision == Precision::bf16   ? DType::bf16
         : precision == Precision::fp16 ? DType::f16
                                        : DType::f32;
}
void check_precision(Precision precision, Device device) {
  if (precision != Precision::tf32) return;
  check(device != Device{},
        "precision tf32: only GPUs have such products, and the device is the cpu; take fp32, or a "
        "GPU (--device cuda)");
  const int capability = compute_capability(device);
  check(capability >= 80,
        "precision tf32: {} has compute capability {}.{}, and GPUs have such products from 8.0 on; "
        "take fp32",
        to_string(device), capability / 10, capability % 10);
}

void check_update_in_backward(Precision precision, Device device) {
  check(
      precision != Precision::fp16,
      "update-in-backward: fp16 skips steps whose gradients overflow, and a part is done by then; "
      "take bf16 or fp32");
  check(device == Device{}, "update-in-backward: the device is {}; this is for the cpu alone",
        to_string(device));
}

void check_accumulate(i64 accumulate, bool update_in_backward) {
  check(accumulate > 0 && accumulate <= 1'000'000,
        "accumulate is {} batches; it must lie between 1 and 1,000,000", accumulate);
  check(!update_in_backward || accumulate == 1,
        "update-in-backward: the gradient of a step of several batches is whole after the last; "
        "accumulate 1");
}

LossScale::LossScale(Precision precision, NonFinite policy)
    : greatest(precision == Precision::fp16 ? 0x1p32 : 1),
      falls(precision == Precision::fp16 || policy == NonFinite::lower_scale),
      value(precision == Precision::fp16 ? 0x1p16 : 1) {}

void LossScale::count(bool skipped) {
  good_steps = value < greatest && !skipped ? good_steps + 1 : 0;
  if (falls && skipped) value /= 2;
  if (good_steps == kGoodSteps) value *= 2, good_steps = 0;
}

}  // namespace minima
