/// The steps on a GPU of a rule from outside of optim/.
#include "optim/engine/cuda/passes.hpp"
#include "tests/optim/cut_momentum.hpp"

namespace minima {
namespace {

[[maybe_unused]] const bool kRegistered = (register_rule_on_gpu<test::CutMomentum>(), true);

}  // namespace
}  // namespace minima
