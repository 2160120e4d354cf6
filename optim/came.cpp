#include "optim/came.hpp"

namespace minima {

std::vector<Slot> Came::slots(const Options&, const ParameterShape& parameter) {
  std::vector<Slot> slots{{"exp_avg", "m"}};
  std::ranges::copy(factored_slots("exp_avg_sq", parameter.shape, "R", "C"),
                    std::back_inserter(slots));
  if (parameter.shape.rank() >= 2)
    std::ranges::copy(factored_slots("exp_avg_res", parameter.shape, "U", "S"),
                      std::back_inserter(slots));
  slots.push_back({"RMS", "RMS(p)", Sign::nonnegative, Shape{}});
  return slots;
}

}  // namespace minima
