#include "train/state_use.hpp"

namespace minima {
namespace {

constexpr i64 kSmall = 4096, kBlock = 256;

double rounding_error(const StateFile& file, const PlannedSlot& slot) {
  if (slot.storage == Storage::block8) return code_use(file, slot).expected_error;
  PlannedSlot narrow = slot;
  narrow.storage = Storage::block8;
  narrow.block_size = kBlock;
  const Tensor values = file.values(slot);
  return difference(values, rounded(narrow, values)).relative_rms;
}

}  // namespace

double factoring_error(const Tensor& v) {
  const i64 n = v.size(0), m = v.size(1);
  std::vector<double> rows(static_cast<std::size_t>(n)), columns(static_cast<std::size_t>(m));
  const float* x = v.data<float>();
  double total = 0;
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < m; ++j) {
      rows[static_cast<std::size_t>(i)] += x[i * m + j];
      columns[static_cast<std::size_t>(j)] += x[i * m + j];
      total += x[i * m + j];
    }
  Tensor product = Tensor::empty_like(v);  // (Σⱼ vᵢⱼ)(Σᵢ vᵢⱼ)/ΣΣ v is R·C/mean(R)
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < m; ++j)
      product.data<float>()[i * m + j] =
          static_cast<float>(total == 0 ? 0
                                        : rows[static_cast<std::size_t>(i)] *
                                              columns[static_cast<std::size_t>(j)] / total);
  return difference(v, product).relative_rms;
}

Json describe_state(const StateFile& file) {
  Json slots = Json::array();
  for (const PlannedSlot& slot : file.plan.slots) {
    if (slot.slot == "step") continue;
    Json one = {{"tensor", slot.parameter},
                {"slot", slot.slot},
                {"storage", storage_name(slot.storage)},
                {"elements", slot.elements()},
                {"bytes", slot.bytes()},
                {"rounding", nullptr},
                {"factoring", nullptr}};
    if (slot.elements() >= kSmall &&
        (slot.storage == Storage::fp32 || slot.storage == Storage::block8))
      one["rounding"] = rounding_error(file, slot);
    if (slot.elements() >= kSmall && slot.storage == Storage::fp32 &&
        slot.sign == Sign::nonnegative && slot.shape.rank() == 2)
      one["factoring"] = factoring_error(file.values(slot));
    slots.push_back(std::move(one));
  }
  return slots;
}

}  // namespace minima
