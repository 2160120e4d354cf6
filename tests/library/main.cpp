/// A rule from outside the tree, and a step of it.
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"

namespace {

/// p ← p − lr · g
struct Descent {
  static constexpr std::string_view name = "descent";
  struct Options {
    double lr = 0.5;
    static constexpr auto fields() {
      return std::tuple{minima::Field{"lr", &Options::lr, minima::nonnegative}};
    }
  };
  static std::vector<minima::Slot> slots(const Options&) { return {}; }
  MINIMA_HD static Descent prepare(const Options& o, minima::i64) {
    return {static_cast<float>(o.lr)};
  }
  template <class T>
  MINIMA_HD void operator()(T& p, T g) const {
    p = p - lr * g;
  }
  float lr;
};

}  // namespace

int main() {
  int unused;  // of which -Wall would warn
  minima::register_rule<Descent>();
  minima::Parameter w{"w", minima::Tensor::full({3}, 2), {}};
  w.gradient = minima::Tensor::full({3}, 1);
  minima::Optimizer optimizer =
      minima::make_optimizer("descent", std::vector<minima::Parameter*>{&w});
  optimizer.step();
}
