#include "autograd/checkpoint.hpp"

#include "autograd/autocast.hpp"

namespace minima {

Variable checkpoint(const std::function<Variable(const Variable&)>& fn, const Variable& x) {
  check(bool(fn), "checkpoint: it was given no function");
  if (!x.requires_grad() || !grad_enabled()) return fn(x);
  Tensor y;
  {
    const NoGrad no_grad;
    y = fn(Variable(x.value())).value();
  }
  return record("checkpoint", std::move(y), {x},
                [fn, input = x.value(), type = autocast_type()](const Tensor& dy) {
                  const Autocast as_in_forward(type);
                  const EnableGrad also_under_no_grad;
                  Parameter leaf{.name = "input of a checkpoint", .value = input, .gradient = {}};
                  const Variable y = fn(Variable(leaf));
                  if (y.requires_grad())
                    y.backward(dy);  // the gradients of parameters go where they belong
                  return Grads{std::move(leaf.gradient)};
                });
}

}  // namespace minima
