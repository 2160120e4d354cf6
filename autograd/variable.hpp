/// Variable: a tensor that remembers how it was computed, so that `backward` can fill in gradients.
///
///     Parameter w{"w", Tensor::full({3}, 2)};
///     Variable loss = sum(square(Variable(w)));
///     loss.backward();                            // w.gradient is 2·w
///
/// A leaf is a Parameter; everything else is made by a function of autograd/functions.hpp. The
/// graph belongs to the variables that came out of it: it lives until the last of them goes, and
/// `backward` consumes it.
///
/// An op keeps its inputs themselves for backward, no copies. Whoever overwrites a parameter's value in place before then (by
/// an optimizer's step between two calls of backward, or a `fill`) silently gets gradients of neither value.
///
/// Threads may run forward and backward at the same time, each on graphs of its own; to the gradient of a parameter that they
/// share they add without a lock.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/ops.hpp"
#include "core/parameter.hpp"

namespace minima {

/// One gradient per input, in input order; a default Gradient where an input needs none.
using Grads = std::vector<Gradient>;
/// Maps the gradient of an op's result to those of its inputs.
using Backward = std::function<Grads(const Tensor& dy)>;

struct Node;

/// For a Backward: the gradient that input i has from other ops so far, taken from it. The Backward must give it back, with
/// its own added: so a product adds to it as it is formed (ops::linear_input_gradient), and no pass is made for the sum.
/// Undefined where there is none yet, where it is not dense or of another type, and where somebody else holds its numbers.
/// Throws Error outside of a Backward.
Tensor gradient_so_far(std::size_t i, DType type);

class Variable {
 public:
  Variable() = default;
  /// A constant: no gradient flows into it.
  Variable(Tensor value);
  /// A leaf: backward adds to `parameter.gradient`, if it is trainable. The parameter must outlive
  /// the graph. Throws Error for a trainable one of integers.
  Variable(Parameter& parameter);

  /// Its numbers, in f32 (or f64). Those that an op gave in bf16 or f16 are widened when first asked for.
  const Tensor& value() const;
  /// The same as numbers of `type`, rounded when first asked for; as they are where `type` is f32 or they are f64.
  const Tensor& value(DType type) const;
  bool defined() const { return given().defined(); }
  const Shape& shape() const { return given().shape(); }
  i64 size(int axis) const { return given().size(axis); }
  /// The type in which the op gave it, and in which its gradient comes to that op's backward.
  DType dtype() const { return given_; }
  /// Whether a gradient flows into it.
  bool requires_grad() const { return node_ != nullptr; }

  /// Adds d(this)/d(leaf) to the gradient of every leaf, and frees the graph on its way.
  /// Throws Error unless this is a single number that depends on a leaf, and when the graph was
  /// used already. What throws on the way (a graph that was used in part, memory) leaves gradients
  /// added to some leaves only, and the graph used: clear the gradients and compute anew.
  void backward() const;
  /// The same for a value of any shape, given the gradient `dy` that comes in, of its shape and on its device. Throws Error
  /// also where an op on the way gives a gradient of another shape than its input, of another type (but for bf16, f16 and
  /// f32, which may stand for one another), or on another device.
  void backward(const Tensor& dy) const;
  /// The same, and calls `whole` for each parameter as soon as its gradient is whole: when every use of it in the graph has
  /// given its share. No op of the graph reads its value any more, so `whole` may change value and gradient
  /// (train/update_in_backward.hpp); a tensor that was taken from it beside the graph (`w.value`, for a stopped gradient) is
  /// changed with it. What a checkpoint (autograd/checkpoint.hpp) computes is in the graph when backward comes to it: a
  /// parameter that it shares with later ops is whole twice, and its own leaf, which is nobody else's, once.
  void backward(const Tensor& dy, const std::function<void(Parameter&)>& whole) const;

 private:
  friend Variable record(OpName, Tensor, std::vector<Variable>, Backward, Tensor);
  const Tensor& given() const { return is_narrow(given_) ? rounded_ : wide_; }

  mutable Tensor wide_, rounded_;  ///< the same numbers; one or both of them
  DType given_ = DType::f32;
  std::shared_ptr<Node> node_;
};

/// The result `value` of op `name` on `inputs`, with the function that maps its gradient to theirs.
/// Where no input needs a gradient, or under NoGrad, it is a constant and `backward` is dropped
/// with all that it holds. An op that also has its numbers rounded passes them as `rounded`. In a program of your own:
///
///     Variable reverse_gradient(const Variable& x) {       // Ganin & Lempitsky 2015, arXiv:1409.7495
///       return record(OpName::elsewhere("reverse_gradient"), x.value(), {x},
///                     [](const Tensor& dy) { return Grads{ops::unary<ops::Neg>(dy)}; });
///     }
///
/// Throws Error where the first input is undefined (later ones may be), and without a `backward`.
Variable record(OpName name, Tensor value, std::vector<Variable> inputs, Backward backward,
                Tensor rounded = {});

/// While one lives, the thread records, or records nothing.
class GradMode {
 public:
  explicit GradMode(bool records);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};
/// For evaluation.
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};
/// For a Backward that computes values again, wherever it is called.
struct EnableGrad : GradMode {
  EnableGrad() : GradMode(true) {}
};

/// Whether functions record on this thread.
bool grad_enabled();

/// While one lives, the thread looks at every value and every gradient that an op makes, and throws Error (run time) at
/// the first that is not finite, naming the op or the parameter: to find where a NaN came from, by doing the step once more.
class FindNonFinite {
 public:
  FindNonFinite();
  ~FindNonFinite();
  FindNonFinite(const FindNonFinite&) = delete;
  FindNonFinite& operator=(const FindNonFinite&) = delete;

 private:
  bool before_;
};

}  // namespace minima
