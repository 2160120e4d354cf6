/// The list of differentiable ops. `record` takes no other name (checked when compiled), and the
/// gradcheck test asks for a row for each name: an op without a test cannot exist.
#pragma once

#include <algorithm>
#include <string_view>

namespace minima {

inline constexpr std::string_view kOps[] = {
    // elementwise, one argument
    "gelu",
};

/// The name of an op in kOps; any other string does not compile.
struct OpName {
  consteval OpName(const char* op) : name(op) {
    if (std::ranges::find(kOps, name) == std::end(kOps))
      throw "this op is not in kOps (autograd/ops.hpp)";
  }
  std::string_view name;
};

}  // namespace minima
