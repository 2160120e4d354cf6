/// What a step sees of one parameter: its value, gradient and slots as plain pointers, so that it can
/// be handed to a GPU.
#pragma once

#include <algorithm>
#include <array>

#include "core/shape.hpp"
#include "optim/probe.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

/// No rule keeps more slots for a parameter.
inline constexpr std::size_t kMaxSlots = 6;

/// A gradient: dense, or the rows `ids` (ascending) of a table whose other rows are zero.
struct GradientView {
  SlotView values;  ///< fp32 or bf16
  const i64* ids = nullptr;
  i64 count = 0, width = 0;  ///< rows given, and values in each
};

/// One parameter in one step.
struct StepView {
  std::string_view name;
  Shape shape;
  SlotView value;  ///< fp32 or bf16
  GradientView gradient;
  std::array<SlotView, kMaxSlots> slots;  ///< in the order of the rule's slots()
  int slot_count = 0;
  i64 t = 1;
  float clip_value = 0;      ///< the gradient's entries are cut to ± this; 0: they are not
  float gradient_scale = 1;  ///< multiplies the gradient: unscaling and clipping in one
  /// Where a gradient's entry is not finite, its weight stays and its state becomes zero.
  bool guard = false;
  /// Only the rows of a gradient of rows are moved, as in torch.optim.SparseAdam.
  bool lazy_rows = false;
  Probe* probe = nullptr;  ///< null unless somebody looks on

  bool skips_rows() const { return lazy_rows && gradient.ids; }
  /// Whether the row of the table that element `at` lies in is changed.
  bool moves(i64 at) const {
    return !skips_rows() ||
           std::binary_search(gradient.ids, gradient.ids + gradient.count, at / gradient.width);
  }

  /// The slot of that name, or null.
  const SlotView* find(std::string_view slot) const {
    for (std::size_t k = 0; k < static_cast<std::size_t>(slot_count); ++k)
      if (slots[k].name == slot) return &slots[k];
    return nullptr;
  }
  /// Its floats, where it is never stored in fewer bits; null without such a slot.
  float* floats(std::string_view slot) const {
    const SlotView* found = find(slot);
    return found ? static_cast<float*>(found->values) : nullptr;
  }
  /// Tells a probe of a number that is one for the whole parameter, with its formula.
  void note(const std::string& letter, const char* formula, double value) const {
    if (probe) probe->notes.push_back({letter, formula, value});
  }
};

}  // namespace minima
