/// Gradient checkpointing: memory for time.   Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174.
#pragma once

#include <functional>

#include "autograd/variable.hpp"

namespace minima {

/// fn(x), of which only x is kept: backward computes what lies between once more, and then its gradients. The same bits as
/// fn(x), where that is f32 (a narrow result, under Autocast, is widened): an op's result depends on its inputs alone, a dropout
/// mask on what it is keyed by. Where x needs no gradient it is plainly fn(x).
///
/// What `fn` uses must live until then: x, parameters and constants. Through any other Variable that it captures
/// backward goes on at once from here, and throws Error where something else has that one in its graph too.
Variable checkpoint(const std::function<Variable(const Variable&)>& fn, const Variable& x);

}  // namespace minima
