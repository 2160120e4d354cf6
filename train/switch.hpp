/// Changing the optimizer in mid-training.
#pragma once

#include <string>
#include <vector>

#include "train/convert_state.hpp"

namespace minima {

/// Another optimizer after so many steps, or after a share of all steps.
struct OptimizerSwitch {
  i64 steps = 0;
  double share = 0;  ///< where steps is 0
  std::string spec;

  /// Reads "500:adafactor:lr=0.03" and "50%:adamw8bit". Throws Error for another form, and for a
  /// share that is not between 0 and 100 %.
  static OptimizerSwitch parse(const std::string& text);
  /// The optimizer steps taken before it, of `total`.
  i64 step(i64 total) const;
};

/// Specs by the steps taken before them. Throws Error for a switch after the last step or later, and
/// for two after the same one.
std::map<i64, std::string> by_step(const std::vector<OptimizerSwitch>& switches, i64 total);

/// What a switch did.
struct SwitchRecord {
  i64 step;              ///< steps taken before it
  std::string from, to;  ///< the old one's name, the new one's spec
  i64 warmup;            ///< steps over which the learning rate rises again; 0: none
  std::vector<SlotConversion> slots;

  /// "after step 500: adamw → lion:lr=0.0002, the learning rate rises again over 25 steps", and the table of slots.
  std::string text() const;
  Json to_json() const;
  /// What to_json gave. Throws Error or Json::exception for JSON of another form.
  static SwitchRecord from_json(const Json& json);
};

/// Steps over which the learning rate rises again (1/n, 2/n, …, 1): where a slot started afresh, a
/// twentieth of the `remaining` steps, at least 10 and at most 1,000; else 0.
i64 restart_warmup(const std::vector<SlotConversion>& slots, i64 remaining);

/// Steps that are watched after a switch, whatever --watch says.
inline constexpr i64 kWatchedAfterSwitch = 10;

}  // namespace minima
