#include "optim/engine/traced.hpp"

namespace minima {

std::string Trace::expression(const Traced& x, Spelling spelling, int strength, bool expand) const {
  const auto number = [&](float value) {
    if (std::isnan(value)) return std::string("nan");
    std::string text = fmt::format("{}", value);
    return std::signbit(value) && strength > 0 ? "(" + text + ")" : text;
  };
  if (x.node < 0) return number(x.value);
  const Node& node = nodes_[static_cast<std::size_t>(x.node)];
  if (node.operation.empty() || (!expand && !node.name.empty()))
    return spelling == Spelling::letters ? node.name : number(node.value);
  const auto part = [&](const Traced& operand, int least) {
    return expression(operand, spelling, least, false);
  };
  if (node.operation == "sqrt" || node.operation == "abs" || node.operation == "sign")
    return fmt::format("{}({})", node.operation, part(node.a, 0));
  if (node.operation == "max" || node.operation == "min" || node.operation == "cut")
    return fmt::format("{}({}, {})", node.operation, part(node.a, 0), part(node.b, 0));
  if (node.operation == "neg") return fmt::format("-{}", part(node.a, 3));
  const int own = node.operation == "+" || node.operation == "-" ? 1 : 2;
  const std::string text =  // rounded, a + (b + c) is another number than (a + b) + c
      fmt::format("{} {} {}", part(node.a, own), node.operation, part(node.b, own + 1));
  return own < strength ? "(" + text + ")" : text;
}

}  // namespace minima
