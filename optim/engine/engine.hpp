/// The engine: runs a rule over a list of parameters, each with its gradient, storages and own step
/// count.
///
/// `RuleRunner<R>` is all that a rule needs to become an optimizer; register_rule<R>()
/// (optim/registry.hpp) instantiates it. Of a rule from outside this tree it makes as much as of one
/// within: the loop around its formula (optim/engine/loop.hpp), for every vector unit.
#pragma once

#include <algorithm>
#include <memory>

#include "core/text/split.hpp"
#include "optim/clip.hpp"
#include "optim/engine/matrix_pass.hpp"

namespace minima {

/// What every optimizer takes beside its rule's and the storage's options.
struct EngineOptions {
  /// Where a gradient's entry is NaN, or its square inf (from 2⁶⁴ on): leave that weight alone and make its state zero.
  /// By default on where state may be in block8, since one such entry would spoil a whole block; else off.
  std::optional<bool> non_finite_guard;
  /// With a gradient of rows, move the given rows alone, as torch.optim.SparseAdam does: the others keep weight and state,
  /// without decay or momentum, except that state in a block of block8 that also holds a moved row is rounded anew. Off, a
  /// row that is not given has the gradient 0, which gives the bits of a dense gradient. Means of rows and columns
  /// (Adafactor, CAME) are kept as if it were off.
  bool lazy_rows = false;

  static constexpr auto fields() {
    return std::tuple{Field{"non_finite_guard", &EngineOptions::non_finite_guard},
                      Field{"lazy_rows", &EngineOptions::lazy_rows}};
  }
};

/// A rule with its options, type-erased.
class AnyRule {
 public:
  virtual ~AnyRule() = default;
  /// False when the rule has no option of that name.
  virtual bool set(std::string_view owner, std::string_view option, const std::string& text) = 0;
  virtual void validate() const = 0;
  virtual OptionValues options() const = 0;
  virtual std::vector<OptionHelp> help() const = 0;
  /// The alternatives that were put into the options of R::patterns, by name: those that are not among the default's.
  virtual OptionList chosen_patterns() const = 0;
  virtual std::vector<Slot> slots(const ParameterShape& parameter) const = 0;
  virtual bool keeps_step() const = 0;
  /// How many floats a step of this parameter allocates temporarily on a CPU.
  virtual i64 temporary(const ParameterShape& parameter) const = 0;
  /// None where a rule makes its own step size: a schedule has no effect.
  virtual std::optional<double> lr() const = 0;
  /// One step of all `views`, which lie on the CPU, with `lr_factor` on the learning rate.
  virtual void step(std::span<const StepView> views, double lr_factor) const = 0;
  virtual std::unique_ptr<AnyRule> clone() const = 0;
};

/// One step of all views unless outcome->skipped, their gradients times outcome->scale. Does not wait for a
/// GPU.
void step(Cpu, const AnyRule& rule, std::span<StepView> views, double lr_factor, Outcome* outcome);
template <AnyGpu Gpu>
void step(Gpu gpu, const AnyRule& rule, std::span<StepView> views, double lr_factor,
          Outcome* outcome);

/// The most bytes that a step of these parameters allocates temporarily on the CPU; on several threads it may be fewer.
i64 temporary_bytes(const AnyRule& rule, std::span<const ParameterShape> parameters);

namespace detail {

/// f(first_slots<count>); false where the rule's operator() does not take so many.
template <class R, class F, std::size_t... K>
bool with_slots(std::size_t count, const F& f, std::index_sequence<K...> slots = {}) {
  if constexpr (sizeof...(K) > kMaxSlots) {
    return false;
  } else {
    if (sizeof...(K) != count) return with_slots<R>(count, f, first_slots<sizeof...(K) + 1>);
    constexpr bool takes =
        std::is_invocable_v<const R&, float&, float, decltype(std::declval<float&>() += K)...>;
    if constexpr (takes) f(slots);
    return takes;
  }
}

/// Calls step(view) for each that is not empty, several side by side.
void step_matrices(const AnyRule& rule, std::span<const StepView> views,
                   const std::function<void(const StepView& view)>& step);

}  // namespace detail

template <class R>
class RuleRunner final : public AnyRule {
  static_assert(ElementwiseRule<R> || MatrixRule<R>,
                "a rule has slots(options) and prepare(options, t), which gives a rule, or "
                "slots(options, parameter) and step(options, passes): optim/rule.hpp");
  using Options = typename R::Options;

 public:
  bool set(std::string_view owner, std::string_view option, const std::string& text) override {
    return set_option(options_, owner, option, text);
  }
  void validate() const override {
    check_options(options_, R::name, check_float);
    if constexpr (requires { R::validate(options_); }) R::validate(options_);
  }
  OptionValues options() const override { return option_values(options_); }
  std::vector<OptionHelp> help() const override { return option_help(options_); }
  OptionList chosen_patterns() const override {
    OptionList chosen;
    if constexpr (requires { R::patterns; }) {
      const Options defaults;
      for (const auto& [name, pattern] : R::patterns) {
        const std::vector<std::string> known = split(defaults.*pattern, '|');
        for (const std::string& one : split(options_.*pattern, '|'))
          if (!one.empty() && std::ranges::find(known, one) == known.end())
            chosen.emplace_back(name, one);
      }
    }
    return chosen;
  }
  std::vector<Slot> slots(const ParameterShape& parameter) const override {
    if constexpr (ElementwiseRule<R>) {
      const std::vector<Slot> slots = R::slots(options_);
      check(detail::with_slots<R>(slots.size(), [](auto) {}),
            "{}: slots() names {} slots, a number that its operator() does not take (it is const, "
            "and has at most {})",
            R::name, slots.size(), kMaxSlots);
      for (const Slot& slot : slots)
        check(!slot.shape,
              "{}: slot '{}' has a shape of its own, which only a matrix rule may keep", R::name,
              slot.name);
      return slots;
    } else {
      return R::slots(options_, parameter);
    }
  }
  bool keeps_step() const override {
    if constexpr (requires { R::keeps_step(options_); }) return R::keeps_step(options_);
    return true;
  }
  i64 temporary(const ParameterShape& parameter) const override {
    if constexpr (requires { &R::temporary; }) {
      return R::temporary(options_, parameter);
    } else if constexpr (MatrixRule<R>) {
      PassesToCount passes(parameter.shape);
      R::step(options_, passes);
      return passes.floats();
    }
    return 0;
  }
  std::optional<double> lr() const override { return options_.lr; }
  std::unique_ptr<AnyRule> clone() const override { return std::make_unique<RuleRunner>(*this); }

  /// The options of a step: with this factor on the learning rate.
  Options scaled(double lr_factor) const {
    Options options = options_;
    if constexpr (std::is_same_v<decltype(options.lr), double>)
      options.lr *= lr_factor;
    else if (options.lr)
      *options.lr *= lr_factor;
    return options;
  }

  void step(std::span<const StepView> views, double lr_factor) const override {
    const Options options = scaled(lr_factor);
    if constexpr (ElementwiseRule<R>) {
      detail::with_slots<R>(R::slots(options).size(), [&](auto slots) {
        std::vector<FormulaStep> steps;
        for (const StepView& view : views)
          steps.push_back(formula_step(view,
                                       view.skips_rows() ? view.gradient.width : view.shape.size(),
                                       R::prepare(options, view.t), slots));
        run(steps);
      });
    } else {
      detail::step_matrices(*this, views, [&](const StepView& view) {
        PassesOnCpu passes(view);
        R::step(options, passes);
      });
    }
  }

 private:
  Options options_;
};

}  // namespace minima
