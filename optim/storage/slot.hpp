/// A whole slot in memory: made as planned, decoded, encoded.
#pragma once

#include "core/tensor.hpp"
#include "optim/storage/plan.hpp"

namespace minima {

/// The type of its values in memory and in files.
DType dtype_in(Storage storage);

/// A slot as it lies in memory: floats, bf16, codes or a counter, and in block8 a scale for each block.
struct StoredSlot {
  Tensor values, absmax = {};

  /// Zero. Codes 0 under absmax 0 are zeros, of the sign that they have in the public implementation.
  static StoredSlot make(const PlannedSlot& planned, Device device = {});
  SlotView view(const PlannedSlot& planned) const;
  /// Itself where it is already there, else a copy.
  StoredSlot to(Device device) const { return {values.to(device), absmax.to(device)}; }
};

/// A tensor of f32 or bf16 as a slot. Throws Error, naming what it is, for other types.
SlotView float_view(const Tensor& tensor, std::string_view what, const std::string& name);

/// The decoded values of a slot on the CPU.
Tensor read_slot(const SlotView& slot, const Shape& shape);
/// Encodes values.
void write_slot(const SlotView& slot, const Tensor& values);

}  // namespace minima
