#include "optim/engine/traced.hpp"

#include <algorithm>

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

void Trace::take_letters(const Trace& other, const std::vector<float>& marks,
                         std::vector<Constant> constants) {
  const auto same_form = [](const Node& a, const Node& b) {
    return a.operation == b.operation && a.a.node == b.a.node && a.b.node == b.b.node;
  };
  if (!std::ranges::equal(nodes_, other.nodes_, same_form)) {
    constants_ = std::move(constants);
    return;
  }
  // A constant becomes an input at the end of the list, which a formula then refers to by its letter.
  std::vector<Traced> letters(constants.size());
  for (std::size_t i = 0; i < other.nodes_.size(); ++i)
    for (Traced Node::*operand : {&Node::a, &Node::b}) {
      const Traced& marked = other.nodes_[i].*operand;
      const auto found = std::ranges::find(marks, marked.value);
      if (marked.node >= 0 || found == marks.end()) continue;
      const auto k = static_cast<std::size_t>(found - marks.begin());
      if (letters[k].node < 0) letters[k] = input(constants[k].letter, constants[k].value);
      nodes_[i].*operand = letters[k];
    }
  for (std::size_t k = 0; k < constants.size(); ++k)
    if (letters[k].node >= 0) constants_.push_back(std::move(constants[k]));
}

}  // namespace minima
