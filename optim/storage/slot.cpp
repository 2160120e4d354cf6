#include "optim/storage/slot.hpp"

#include <map>
#include <mutex>

#include "core/code_map.hpp"

namespace minima {
namespace {

/// Calls f(begin, n) for stretches that can be opened at once.
template <class F>
void for_stretches(const SlotView& slot, i64 size, const F& f) {
  const i64 unit = slot.storage == Storage::block8 ? slot.block_size : 1;
  const i64 stretch = kLongestStretch / unit * unit;
  for (i64 at = 0; at < size; at += stretch) f(at, std::min(stretch, size - at));
}

/// In the memory of a device; a GPU's is copied there once, and stays.
const CodeMap* code_map(Sign sign, Device device) {
  const CodeMap& here = sign == Sign::any ? signed_code_map() : unsigned_code_map();
  if (device.kind == Device::Kind::cpu) return &here;
  static std::mutex& mutex = *new std::mutex;
  static auto& copies = *new std::map<std::pair<std::string, Sign>, Tensor>;
  const std::lock_guard lock(mutex);
  Tensor& there = copies[{to_string(device), sign}];
  if (!there.defined()) {
    Tensor bytes = Tensor::empty({sizeof(CodeMap)}, DType::u8);
    std::memcpy(bytes.raw(), &here, sizeof(CodeMap));
    there = bytes.to(device);
  }
  return reinterpret_cast<const CodeMap*>(there.raw());
}

}  // namespace

DType dtype_in(Storage storage) {
  switch (storage) {
    case Storage::bf16:
      return DType::bf16;
    case Storage::block8:
      return DType::u8;
    case Storage::i32:
      return DType::i32;
    case Storage::fp32:
      break;
  }
  return DType::f32;
}

StoredSlot StoredSlot::make(const PlannedSlot& planned, Device device) {
  return needing_memory(
      [&] {
        StoredSlot slot{Tensor::zeros(planned.shape, dtype_in(planned.storage), device)};
        if (planned.storage == Storage::block8)
          slot.absmax = Tensor::zeros({planned.scales()}, DType::f32, device);
        return slot;
      },
      "the optimizer's state '{}'", planned.key());
}

SlotView StoredSlot::view(const PlannedSlot& planned) const {
  SlotView view{.storage = planned.storage, .values = const_cast<std::byte*>(values.raw())};
  if (planned.storage == Storage::block8) {
    view.absmax = const_cast<float*>(absmax.data<float>());
    view.block_size = planned.block_size;
    view.map = code_map(planned.sign, values.device());
  }
  return view;
}

SlotView float_view(const Tensor& tensor, std::string_view what, const std::string& name) {
  check(tensor.dtype() == DType::f32 || tensor.dtype() == DType::bf16,
        "optimizer: the {} of '{}' is {}; it must be f32 or bf16", what, name,
        dtype_name(tensor.dtype()));
  return {.storage = tensor.dtype() == DType::bf16 ? Storage::bf16 : Storage::fp32,
          .values = const_cast<std::byte*>(tensor.raw())};
}

Tensor read_slot(const SlotView& slot, const Shape& shape) {
  Tensor result = Tensor::empty(shape);
  for_stretches(slot, shape.size(), [&](i64 at, i64 n) {
    float* const to = result.data<float>() + at;
    const float* const values = open_slot(slot, at, n, to);
    if (values != to) std::copy(values, values + n, to);
    if (slot.storage == Storage::block8)
      for (i64 i = 0; i < n; ++i) to[i] += 0.0f;  // it begins as −0, elsewhere a small number
  });
  return result;
}

void write_slot(const SlotView& slot, const Tensor& values) {
  for_stretches(slot, values.size(),
                [&](i64 at, i64 n) { close_slot(slot, at, n, values.data<float>() + at); });
}

}  // namespace minima
