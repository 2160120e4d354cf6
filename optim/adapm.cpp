#include "optim/adapm.hpp"

#include "optim/plan.hpp"

namespace minima {

AdaPm::Momentum AdaPm::momentum_of(const Options& o, const std::string& name, const Shape& shape) {
  if (shape.rank() < 2 || matches(name, o.full)) return Momentum::full;
  if (matches(name, o.none)) return Momentum::none;
  if (shape.rank() != 2 || !matches(name, o.low_rank)) return Momentum::full;
  return o.rank == 0 ? Momentum::none : Momentum::low_rank;
}

std::vector<Slot> AdaPm::slots(const Options& o, const ParameterShape& parameter) {
  std::vector<Slot> slots;
  switch (momentum_of(o, parameter.name, parameter.shape)) {
    case Momentum::full:
      slots.push_back({"exp_avg", "m"});
      break;
    case Momentum::low_rank: {
      const auto [n, m] = std::minmax({parameter.shape[0], parameter.shape[1]});
      const i64 r = rank_of(o, parameter.shape);
      slots.push_back({"basis", "Q", Sign::any, Shape{n, r}});
      slots.push_back({"coef", "C", Sign::any, Shape{r, m}});
      break;
    }
    case Momentum::none:
      break;
  }
  if (o.factored && parameter.shape.rank() >= 2)
    std::ranges::copy(factored_slots("exp_avg_sq", parameter.shape, "R", "C"),
                      std::back_inserter(slots));
  else
    slots.push_back({"exp_avg_sq", "v", Sign::nonnegative});
  return slots;
}

i64 AdaPm::temporary(const Options& o, const StepView& view) {
  if (momentum_of(o, std::string(view.name), view.shape) != Momentum::low_rank) return 0;
  return view.shape.size() + 3 * rank_of(o, view.shape) * (view.shape[0] + view.shape[1]);
}

}  // namespace minima
