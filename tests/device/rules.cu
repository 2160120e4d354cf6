/// The steps on a GPU of rules from outside of optim/.
#include "optim/engine/cuda/passes.hpp"
#include "tests/optim/cut_momentum.hpp"
#include "tests/optim/sm3.hpp"

namespace minima {
namespace {

[[maybe_unused]] const bool kRegistered =
    (register_rule_on_gpu<test::CutMomentum>(), register_rule_on_gpu<test::Sm3>(), true);

}  // namespace
}  // namespace minima
