/// The engine: runs a rule over a list of parameters, each with its gradient, storages and own step
/// count.
///
/// `RuleRunner<R>` is all that a rule needs to become an optimizer; register_rule<R>()
/// (optim/registry.hpp) instantiates it. The loops around the formula live in this header and in
/// optim/view.hpp, so a rule from outside this tree is vectorized as well. Work is cut into tasks
/// by shapes alone: the bits do not depend on the number of threads.
#pragma once

#include <memory>
#include <span>

#include "optim/matrix_pass.hpp"
#include "optim/rule.hpp"
#include "optim/view.hpp"

namespace minima {

/// What every optimizer takes beside its rule's and the storage's options.
struct EngineOptions {
  /// Where a gradient's entry is inf or NaN: leave that weight alone and make its state zero.
  /// Unless given, on for state=block8, where one such entry would spoil a whole block, and off
  /// elsewhere.
  std::optional<bool> non_finite_guard;
  /// Of a gradient of rows, move the given rows alone, as torch.optim.SparseAdam does: the others
  /// keep weight and state, without decay and without momentum. Off, a row that is not given has the
  /// gradient 0, which gives the bits of a dense gradient. Means of rows and columns (Adafactor,
  /// CAME) are kept as if it were off.
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
  virtual Json options() const = 0;
  virtual std::vector<std::string> option_names() const = 0;
  virtual std::vector<Slot> slots(const ParameterShape& parameter) const = 0;
  virtual bool keeps_step() const = 0;
  virtual bool takes_schedule() const = 0;
  /// One step of all `views`, with `lr_factor` on the learning rate.
  virtual void step(std::span<const StepView> views, double lr_factor) const = 0;
  virtual std::unique_ptr<AnyRule> clone() const = 0;
};

namespace detail {

/// The formula of an elementwise rule, as `update` wants it: one row without factors.
template <class R>
struct SameForAllRows {
  R rule;
  struct Row {
    R rule;
    template <class T, class... S>
    MINIMA_HD void operator()(i64, T& p, T g, S&... state) const {
      rule(p, g, state...);
    }
    template <class F>
    requires requires(R r, const F& f) { r.constants(f); }
    void constants(const F& f) { rule.constants(f); }
  };
  MINIMA_HD Row row(i64) const { return {rule}; }
};

template <class R, std::size_t... K>
constexpr bool takes_slots(std::index_sequence<K...>) {
  return std::is_invocable_v<const R&, float&, float, decltype(std::declval<float&>() += K)...>;
}

/// Calls f with std::index_sequence<0 … count-1>, for the counts that the rule's operator() takes.
template <class R, std::size_t K = 0, class F>
void with_slot_count(int count, const F& f) {
  if constexpr (K <= std::tuple_size_v<decltype(StepView::slots)>) {
    if (static_cast<int>(K) != count) return with_slot_count<R, K + 1>(count, f);
    if constexpr (takes_slots<R>(std::make_index_sequence<K>())) f(std::make_index_sequence<K>());
  }
}

}  // namespace detail

template <class R>
requires ElementwiseRule<R> || MatrixRule<R>
class RuleRunner final : public AnyRule {
 public:
  bool set(std::string_view owner, std::string_view option, const std::string& text) override {
    return set_option(options_, owner, option, text);
  }
  void validate() const override {
    if constexpr (requires { R::validate(options_); }) R::validate(options_);
  }
  Json options() const override { return options_json(options_); }
  std::vector<std::string> option_names() const override {
    return minima::option_names<typename R::Options>();
  }
  std::vector<Slot> slots(const ParameterShape& parameter) const override {
    if constexpr (ElementwiseRule<R>) {
      const std::vector<Slot> slots = R::slots(options_);
      bool taken = false;
      detail::with_slot_count<R>(static_cast<int>(slots.size()), [&](auto) { taken = true; });
      check(taken, "{}: slots() names {} slots, a number that its operator() does not take",
            R::name, slots.size());
      return slots;
    } else {
      return R::slots(options_, parameter);
    }
  }
  bool keeps_step() const override { return minima::keeps_step<R>(); }
  bool takes_schedule() const override {
    if constexpr (requires { R::takes_schedule(options_); }) return R::takes_schedule(options_);
    return true;
  }
  std::unique_ptr<AnyRule> clone() const override { return std::make_unique<RuleRunner>(*this); }

  void step(std::span<const StepView> views, double lr_factor) const override {
    typename R::Options options = options_;
    if constexpr (std::is_same_v<decltype(options.lr), double>)
      options.lr *= lr_factor;
    else if (options.lr)
      *options.lr *= lr_factor;
    if constexpr (ElementwiseRule<R>)
      step_elements(views, options);
    else
      step_matrices(views, options);
  }

 private:
  /// All parameters' chunks are one list of tasks.
  static void step_elements(std::span<const StepView> views, const typename R::Options& options) {
    struct Task {
      const StepView* view;
      const R* rule;
      Stretch stretch;
    };
    std::vector<R> rules;
    rules.reserve(views.size());
    std::vector<Task> tasks;
    // Calls f(slots, index, width, formula) for one parameter.
    const auto open_view = [](const StepView& view, const R& rule, const auto& f) {
      detail::with_slot_count<R>(
          view.slot_count, [&]<std::size_t... K>(std::index_sequence<K...> index) {
            f(std::array<SlotView, sizeof...(K)>{view.slots[K]...}, index,
              view.skips_rows() ? view.gradient.width : view.shape.size(),
              detail::SameForAllRows<R>{rule});
          });
    };
    for (const StepView& view : views) {
      const R& rule = rules.emplace_back(R::prepare(options, view.t));
      open_view(view, rule, [&](const auto& slots, auto index, i64 width, const auto& formula) {
        for (const Stretch& stretch : moved_stretches(view, slots))
          tasks.push_back({&view, &rule, stretch});
        trace_element(view, slots, width, formula, index);
      });
    }
    parallel_for(static_cast<i64>(tasks.size()), [&](i64 i) {
      const Task& task = tasks[static_cast<std::size_t>(i)];
      open_view(*task.view, *task.rule,
                [&](const auto& slots, auto index, i64 width, const auto& formula) {
                  update(*task.view, slots, width, task.stretch.begin, task.stretch.end, formula,
                         index);
                });
    });
  }

  /// A parameter is one task, so that its gradient stays in the cache between passes; only the
  /// passes of a very large one (an embedding) are cut up. The largest come first, for an even
  /// load.
  static void step_matrices(std::span<const StepView> views, const typename R::Options& options) {
    constexpr i64 kVeryLarge = i64{4} << 20;
    std::vector<const StepView*> tasks;
    for (const StepView& view : views)
      if (view.shape.size() < kVeryLarge)
        tasks.push_back(&view);
      else
        R::step(options, view);
    std::ranges::stable_sort(tasks, std::greater(),
                             [](const StepView* view) { return view->shape.size(); });
    parallel_for(static_cast<i64>(tasks.size()),
                 [&](i64 i) { R::step(options, *tasks[static_cast<std::size_t>(i)]); });
  }

  typename R::Options options_;
};

}  // namespace minima
