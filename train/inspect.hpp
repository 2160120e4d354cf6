/// Inspect: the state of a saved optimizer, opened to the eye without its model.
///
///     const StateFile file("runs/a/final/optimizer.safetensors");
///     for (const PlannedSlot& slot : file.plan.slots) {
///       ValueStatistics all = statistics(file.values(slot));          // range, RMS, histogram
///       if (slot.storage == Storage::block8) code_use(file, slot);
///     }
///
/// Slots are known by their names and storage alone, so that a new rule needs nothing here.
#pragma once

#include <array>
#include <map>

#include "optim/optimizer.hpp"
#include "optim/storage/slot.hpp"

namespace minima {

/// A verified file of state.
class StateFile {
 public:
  /// Reads `path`, or `optimizer.safetensors` in that folder, in its final/ or, of a run that was stopped, in its newest
  /// whole checkpoint. Throws Error when it is no optimizer's state, is damaged, or has slots and tensors that do not fit
  /// one another; for a folder without one it names those in it that may have one: runs, checkpoints.
  explicit StateFile(const std::filesystem::path& path);

  /// A slot's values, decoded to fp32.
  Tensor values(const PlannedSlot& slot) const;
  /// As they lie in the file.
  StoredSlot stored(const PlannedSlot& slot) const;
  /// Null where there is none of that key, `<parameter>/<slot>`.
  const PlannedSlot* find(const std::string& key) const;

  std::filesystem::path path;
  SavedState saved;
  StatePlan plan;  ///< in the order in which the optimizer keeps its slots; no reasons
};

/// How numbers are spread.
struct ValueStatistics {
  i64 count = 0, non_finite = 0, zeros = 0;
  double min = NAN, max = NAN, rms = NAN;  ///< of the finite ones
  /// Finite values but 0 by their magnitude: bin b counts 10^(b/2) ≤ |x| < 10^((b+1)/2).
  std::map<int, i64> histogram;
};
ValueStatistics statistics(const Tensor& values);

/// How block8 spends its 256 codes on one slot.
struct CodeUse {
  /// A block whose values are small beside its largest: few codes are left for them.
  struct Block {
    i64 index = 0, begin = 0, end = 0;  ///< elements begin … end − 1
    double absmax = 0, median = 0;      ///< of the magnitudes
    double ratio = 0;                   ///< absmax/median; infinite where most values are 0
    double expected_error = 0;
  };

  std::array<i64, 256> histogram{};
  int used = 0;
  double at_extremes = 0;  ///< share of codes for ±absmax; every block has one at least
  double at_zero = 0;      ///< share of codes for 0
  /// RMS of the rounding error over RMS of the values, if a value lies anywhere between the borders
  /// of its code with equal chance. Of the finite blocks; NaN where there is none.
  double expected_error = 0;
  Block worst;  ///< of the greatest ratio, of equals of the greatest absmax
};
/// Throws Error for a slot in another storage.
CodeUse code_use(const StateFile& file, const PlannedSlot& slot);

/// How far numbers b lie from numbers a. NaN where there is no pair of finite ones.
struct Difference {
  i64 count = 0, non_finite = 0;  ///< a pair with a number that is not finite counts nowhere else
  double max_abs = NAN, max_relative = NAN;  ///< |b − a|; over the larger of |a| and |b|
  double rms = NAN, relative_rms = NAN;      ///< of b − a; over the RMS of a
  double cosine = NAN;                       ///< of the angle between a and b; NaN where one is 0
  double scale = NAN;                        ///< sum of b over sum of a
  /// relative_rms of the multiple of b that is nearest to a: √(1 − cosine²).
  double scaled_rms = NAN;
  i64 lost = 0;  ///< a is not 0, b is
};
Difference difference(const Tensor& a, const Tensor& b);

/// fp32 values as `slot` would give them back: encoded once in its storage, and decoded.
Tensor rounded(const PlannedSlot& slot, const Tensor& values);

/// A second moment kept as its row means R and column means C: V ≈ R·C/mean(R).
struct FactorUse {
  std::string parameter, row, column;  ///< slots of R and C
  i64 batch = 0, rows = 0, columns = 0;
  double mean_row = 0, mean_column = 0;      ///< equal but for rounding: both are the mean of V
  double row_spread = 0, column_spread = 0;  ///< largest mean over the smallest
  double min = NAN, max = NAN;               ///< of R·C/mean(R), but NaN
  std::string full = {};  ///< the slot of V in the reference; empty: there is none
  Difference error = {};  ///< of R·C/mean(R) from that V
};
/// Every pair `<x>_row`, `<x>_col` and `row_var`, `col_var` whose first is in `slots`; V is looked up in
/// `reference`, unless that is null, as `<x>` and as another second moment (`exp_avg_sq`,
/// `variance`). Throws Error for factors that fit neither one another nor that V.
std::vector<FactorUse> factor_use(const StateFile& file, const std::vector<PlannedSlot>& slots,
                                  const StateFile* reference);

/// Two states, slot by slot.
struct StateComparison {
  struct Entry {
    const PlannedSlot *a, *b;
    Difference difference;
  };
  std::vector<Entry> common;
  std::vector<std::string> only_a, only_b;
  std::vector<std::string> reshaped;  ///< keys in both, of different shapes
};
StateComparison compare_states(const StateFile& a, const std::vector<PlannedSlot>& slots_a,
                               const StateFile& b, const std::vector<PlannedSlot>& slots_b);

}  // namespace minima
