/// What do optimizers make of the same gradients? AdamW trains; the others are its shadows: before each step a shadow gets
/// AdamW's weights and gradient, keeps a state of its own, and its step is compared with AdamW's. So nothing differs but
/// the rule and how it stores its state, which two trainings side by side, soon at different weights, could not show.
///
/// What came out. AdamW's first step is the gradient's sign, and so Lion's. State in 8 bits keeps AdamW's direction (cosine
/// 0.96 over steps 2 to 10, while v is coarse, 0.996 later), as does bf16, but both end 3 to 4 % shorter: v should fall by a
/// thousandth a step, rounding puts it back where it was, and after 1,000 steps half of its entries are 9 or 19 % too
/// large and more. Adafactor corrects no bias: with momentum it begins at a tenth of AdamW's length, and reaches it. CAME begins with steps of twice
/// AdamW's length at a tenth of its rate, and ends with half.
///
///     cmake --build build --target example_09_same_gradients && build/example_09_same_gradients [OPTIMIZER …]
#include <deque>

#include "examples/digits.hpp"
#include "train/metrics.hpp"

using namespace minima;

namespace {

/// The second moment's values, of every tensor that has one.
std::vector<double> second_moments(const Optimizer& optimizer) {
  std::vector<double> all;
  for (const PlannedSlot& slot : optimizer.state().slots) {
    if (slot.slot != "exp_avg_sq") continue;
    const Tensor values = optimizer.values(slot).to(DType::f64);
    const auto here = values.span<double>();
    all.insert(all.end(), here.begin(), here.end());
  }
  return all;
}
double dot(const Variable& a, const Variable& b) { return sum(a * b).value().item(); }

struct Shadow {
  explicit Shadow(const std::string& spec)
      : spec(spec), optimizer(make_optimizer(spec, model.parameters())) {}
  /// Its step from these weights, `before` as one vector, by these gradients.
  Variable step(const std::vector<Parameter*>& from, const Variable& before) {
    const std::vector<Parameter*> own = model.parameters();
    for (std::size_t i = 0; i < from.size(); ++i) {
      own[i]->value.copy_from(from[i]->value);
      own[i]->gradient = from[i]->gradient;
    }
    optimizer.step();
    return flat(own) - before;
  }

  std::string spec;
  Perceptron model;
  Optimizer optimizer;
  double cosine = 0, length = 0;  ///< sums over the steps since the last line
};

}  // namespace

int main(int argc, char** argv) try {
  const bool tiny = argc > 1 && std::string(argv[1]) == "--tiny";
  const i64 steps = tiny ? 20 : 1000;
  std::vector<std::string> specs(argv + 1 + tiny, argv + argc);
  if (specs.empty())
    specs = {"adamw:lr=2e-3:state=block8",
             "adamw:lr=2e-3:state=bf16",
             "lion:lr=2e-4",
             "adafactor:lr=2e-3:relative_step=false:scale_parameter=false:beta1=0.9",
             "came:lr=2e-4",
             "sgd:lr=0.1:momentum=0.9"};

  Perceptron model;
  model.initialize(1);
  const std::vector<Parameter*> weights = model.parameters();
  Optimizer adamw = make_optimizer("adamw:lr=2e-3", weights);
  std::deque<Shadow> shadows(specs.begin(), specs.end());

  const Images images = draw(4096, 1);
  RandomSequence random(1, "batches");
  fmt::print(
      "cosine with AdamW's step, and length as a multiple of its; mean since the line before\n");
  i64 next = 1;      // step that is told of
  double since = 0;  // steps since the last that was
  for (i64 k = 0; k < steps; ++k) {
    loss_of_batch(model, images, random).backward();
    const Variable before = flat(weights);
    std::vector<Variable> moved;
    for (Shadow& shadow : shadows) moved.push_back(shadow.step(weights, before));
    adamw.step();
    const Variable own = flat(weights) - before;
    for (std::size_t i = 0; i < shadows.size(); ++i) {
      const double length = std::sqrt(dot(moved[i], moved[i]) / dot(own, own));
      shadows[i].cosine += dot(own, moved[i]) / (length * dot(own, own));
      shadows[i].length += length;
    }
    for (Parameter* weight : weights) weight->gradient.clear();

    ++since;
    if (k + 1 != next && k + 1 != steps) continue;
    next *= 10;
    fmt::print("step {}\n", k + 1);
    for (Shadow& shadow : shadows) {
      fmt::print("  {:.3f}  × {:<6.3f} {}\n", shadow.cosine / since, shadow.length / since,
                 shadow.spec);
      shadow.cosine = shadow.length = 0;
    }
    since = 0;
  }

  const std::vector<double> own = second_moments(adamw);
  fmt::print("v as a multiple of AdamW's, the median of its entries\n");
  for (const Shadow& shadow : shadows) {
    const std::vector<double> v = second_moments(shadow.optimizer);
    if (v.size() != own.size()) continue;
    std::vector<double> ratios;
    for (std::size_t i = 0; i < v.size(); ++i)
      if (own[i] > 0) ratios.push_back(v[i] / own[i]);
    fmt::print("  × {:<6.3f} {}\n", median(std::move(ratios)), shadow.spec);
  }
} catch (const Error& error) {
  fmt::print(stderr, "same_gradients: {}\n", error.what());
  return 2;
}
