/// The plan: which storage each slot of each parameter gets, why, and how many bytes that is.
///
/// One function decides; the optimizer allocates from its result and `memory` prints it, so what is
/// predicted is what is allocated. It works from names and shapes alone: nothing is allocated here.
#pragma once

#include <string>
#include <vector>

#include "core/shape.hpp"
#include "optim/rule.hpp"
#include "optim/storage/storage.hpp"

namespace minima {

class AnyRule;  // optim/engine/engine.hpp

/// One slot of one parameter.
struct PlannedSlot {
  std::string parameter = {}, slot = {}, letter = {};
  Shape shape = {};
  bool dense = true;  ///< a value for each element of the parameter, which any storage may hold
  Storage storage = Storage::fp32;
  Sign sign = Sign::any;
  i64 block_size = 0;       ///< block8 only
  std::string reason = {};  ///< why this storage: "state=block8", "under 4096 elements", …

  std::string key() const { return parameter + "/" + slot; }
  i64 elements() const { return shape.size(); }
  i64 scales() const;  ///< block maxima: one per block in block8, else 0
  i64 bytes() const;   ///< of elements and scales
  bool operator==(const PlannedSlot&) const = default;
};

/// All slots, parameter by parameter, `step` included where the optimizer keeps one.
struct StatePlan {
  std::vector<PlannedSlot> slots;
  i64 elements() const { return sum(&PlannedSlot::elements); }
  i64 scales() const { return sum(&PlannedSlot::scales); }
  /// Without the two code maps that all block8 shares.
  i64 bytes() const { return sum(&PlannedSlot::bytes); }

 private:
  i64 sum(i64 (PlannedSlot::*count)() const) const;
};

/// How state is stored, the same options for every optimizer. `fp32`, `bf16` and `block8` override
/// by name, the first that matches in this order: a slot whose key `<parameter>/<slot>` matches the pattern
/// ("embeddings|^classifier", "exp_avg$"; see matches) is stored so, whatever its size.
struct StorageOptions {
  Storage state = Storage::fp32;
  i64 block_size = 256;      ///< elements that share a scale in block8, 16 to 4,096
  i64 min_8bit_size = 4096;  ///< a smaller tensor stays fp32 under block8
  std::string fp32, bf16, block8;

  static constexpr auto fields() {
    return std::tuple{
        Field{"state", &StorageOptions::state},
        Field{"block_size", &StorageOptions::block_size, Range{kSmallestBlock, kLongestStretch}},
        Field{"min_8bit_size", &StorageOptions::min_8bit_size, Range{0, 0x1p53}},
        Field{"fp32", &StorageOptions::fp32},
        Field{"bf16", &StorageOptions::bf16},
        Field{"block8", &StorageOptions::block8}};
  }
};

/// Throws Error where one of a rule's own patterns (AnyRule::chosen_patterns) matches none of these parameters.
void check_patterns(const std::string& owner, const OptionList& patterns,
                    const std::vector<std::string>& parameters);
/// Throws Error where an override by name decides over no slot, or one of its alternatives matches none; and for the
/// rule's own patterns.
void check_patterns(const std::string& owner, const StatePlan& plan, const AnyRule& rule,
                    const StorageOptions& options);

/// The slots of one parameter under a rule, `step` last.
std::vector<PlannedSlot> plan_slots(const ParameterShape& parameter, const AnyRule& rule,
                                    const StorageOptions& options);

/// The whole state of the optimizer that `spec` names (see make_optimizer). Throws Error as
/// make_optimizer does.
StatePlan plan_state(const std::string& spec, const std::vector<ParameterShape>& parameters);

/// Whether `name` contains one of the alternatives of `pattern`, which are separated by '|'. In them
/// ^ and $ stand for the beginning and the end of a part of the name, between dots or slashes:
/// "classifier" also finds `pre_classifier.weight`, "^classifier" does not. An empty pattern matches
/// nothing.
bool matches(const std::string& name, const std::string& pattern);
/// The first of the alternatives that matches none of the names. It is to be refused: a misspelled one would go unnoticed.
std::optional<std::string> unmatched(const std::string& pattern,
                                     const std::vector<std::string>& names);

}  // namespace minima
