/// The list of optimizers, and the way from a spec ("adamw:lr=3e-5:state=block8") to a rule with
/// its options.
///
/// A rule outside this tree joins with one line of a .cpp file, before the first optimizer is made from its name:
///
///     minima::register_rule<MyRule>();
///
/// and, to make its steps on a GPU too, with one of a .cu file (optim/engine/cuda/passes.hpp).
#pragma once

#include <memory>
#include <string>

#include "optim/engine/engine.hpp"
#include "optim/storage/plan.hpp"

namespace minima {

/// Adds an optimizer under `name`; `defaults` are options set before the user's. Throws Error when
/// the name is taken.
void register_optimizer(std::string name, std::unique_ptr<AnyRule> rule, std::string defaults = "");

template <class R>
void register_rule() {
  register_optimizer(std::string(R::name), std::make_unique<RuleRunner<R>>());
}

/// A spec, resolved.
struct OptimizerSpec {
  std::string name;
  std::unique_ptr<AnyRule> rule;
  StorageOptions storage;
  EngineOptions engine;

  bool guard() const {
    const bool blocks = storage.state == Storage::block8 || !storage.block8.empty();
    return engine.non_finite_guard.value_or(blocks);
  }
  /// The rule under a group's options as well.
  std::unique_ptr<AnyRule> rule_of_group(const std::string& options) const;
};

/// Throws Error as make_optimizer does.
OptimizerSpec resolve(const std::string& spec);

}  // namespace minima
