#include "optim/storage/slot.hpp"

#include "optim/storage/open.hpp"

namespace minima {
namespace {

/// Calls f(begin, n) for stretches that can be opened at once.
template <class F>
void for_stretches(const SlotView& slot, i64 size, const F& f) {
  const i64 stretch = slot.storage == Storage::block8 ? slot.block_size : kLongestStretch;
  for (i64 at = 0; at < size; at += stretch) f(at, std::min(stretch, size - at));
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

StoredSlot StoredSlot::make(const PlannedSlot& planned) {
  StoredSlot slot{Tensor::zeros(planned.shape, dtype_in(planned.storage))};
  if (planned.storage == Storage::block8) slot.absmax = Tensor::zeros({planned.scales()});
  return slot;
}

SlotView StoredSlot::view(const PlannedSlot& planned) const {
  SlotView view{.storage = planned.storage, .values = const_cast<std::byte*>(values.raw())};
  if (planned.storage == Storage::block8) {
    view.absmax = const_cast<float*>(absmax.data<float>());
    view.block_size = planned.block_size;
    view.map = planned.sign == Sign::any ? &signed_code_map() : &unsigned_code_map();
  }
  return view;
}

SlotView float_view(const Tensor& tensor, std::string_view what, const std::string& name) {
  require_cpu("optimizer", tensor.device());
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
    const float* const values = open(slot, at, n, to);
    if (values != to) std::copy(values, values + n, to);
  });
  return result;
}

void write_slot(const SlotView& slot, const Tensor& values) {
  for_stretches(slot, values.size(), [&](i64 at, i64 n) {
    const float* const from = values.data<float>() + at;
    if (slot.storage == Storage::fp32)
      std::copy(from, from + n, static_cast<float*>(slot.values) + at);
    else
      close(slot, at, n, from);
  });
}

}  // namespace minima
