/// A new optimizer from outside the tree: one struct, one line that registers it, and it has every
/// storage, parameter groups, checkpoints and a name in a spec.
///
///     cmake --build build --target example_06_new_optimizer && build/example_06_new_optimizer
#include "autograd/functions.hpp"
#include "autograd/layers.hpp"
#include "core/rng.hpp"
#include "optim/optimizer.hpp"
#include "optim/registry.hpp"

namespace mine {  // what the tree has by the same name is another
using namespace minima;

/// AdaBelief (Zhuang, Tang, et al. 2020, arXiv:2010.07468, Algorithm 2): long steps where the
/// gradient is what its average led to expect, short ones where it is not.
///
///   m ← β₁ m + (1 − β₁) g              s ← β₂ s + (1 − β₂) (g − m)² + ε
///   p ← p − lr · m̂ / (√ŝ + ε)          m̂ = m/(1−β₁ᵗ), ŝ = s/(1−β₂ᵗ)
struct AdaBelief {
  static constexpr std::string_view name = "my-adabelief";
  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    static constexpr auto fields() {
      return std::tuple{
          Field{"lr", &Options::lr, nonnegative}, Field{"beta1", &Options::beta1, below_one},
          Field{"beta2", &Options::beta2, below_one}, Field{"eps", &Options::eps, nonnegative}};
    }
  };

  static std::vector<Slot> slots(const Options&) {
    return {{"exp_avg", "m"}, {"exp_avg_var", "s", Sign::nonnegative}};
  }
  MINIMA_HD static AdaBelief prepare(const Options& o, i64 t) {
    return {to_float(o.beta1),
            to_float(1 - o.beta1),
            to_float(o.beta2),
            to_float(1 - o.beta2),
            to_float(o.eps),
            to_float(o.lr / (1 - integer_power(o.beta1, t))),
            to_float(std::sqrt(1 - integer_power(o.beta2, t)))};
  }

  template <class T>
  MINIMA_HD void operator()(T& p, T g, T& m, T& s) const {
    m = beta1 * m + one_minus_beta1 * g;
    const T surprise = g - m;
    s = beta2 * s + one_minus_beta2 * surprise * surprise + eps;
    p = p - step_size * m / (sqrt(s) / root_correction2 + eps);
  }

  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps, step_size, root_correction2;
};

namespace {

Tensor random(const Shape& shape, const char* stream) {
  RandomSequence sequence(1, stream);
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>()) value = static_cast<float>(sequence.normal());
  return x;
}

/// Finds the matrix behind y = x Wᵀ, and prints how far it came.
void train(const std::string& spec, i64 steps) {
  const Tensor x = random({256, 64}, "x");
  const Tensor y = linear(x, random({64, 64}, "W")).value();
  Parameter w{"w", Tensor::zeros({64, 64}), {}};
  Optimizer optimizer = make_optimizer(spec, std::vector<Parameter*>{&w});
  double first = 0, last = 0;
  for (i64 k = 0; k < steps; ++k) {
    const Variable loss = mse(linear(x, w), y);
    loss.backward();
    optimizer.step();
    w.gradient.clear();
    last = loss.value().item();
    if (k == 0) first = last;
  }
  fmt::print("{:<34} loss {:.1f} → {:.1e}  {:>6} bytes of state\n", spec, first, last,
             optimizer.state_bytes());
  check(last < 0.5 * first, "{}: the loss went from {} to {}; it should have fallen", spec, first,
        last);
}

}  // namespace
}  // namespace mine

int main(int argc, char** argv) try {
  minima::register_rule<mine::AdaBelief>();
  const bool tiny = argc > 1 && std::string_view(argv[1]) == "--tiny";
  minima::check(argc == 1 + tiny, "usage: {} [--tiny]", argv[0]);
  for (const char* storage : {"fp32", "bf16", "block8"})
    mine::train(fmt::format("my-adabelief:lr=0.03:state={}", storage), tiny ? 60 : 600);
} catch (const minima::Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return error.fault == minima::Fault::input ? 2 : 1;
}
