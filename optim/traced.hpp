/// Traced: a float that remembers how it was computed. A rule's formula, called with Traced in
/// place of float, yields the bits of the kernel and, beside them, the expression that made them:
/// this is what `explain` prints.
///
///     Trace trace;
///     Traced p = trace.input("p", 1.5f), g = trace.input("g", 0.25f), b = trace.input("b", 0);
///     Sgd::prepare(options, 1)(p, g, b);
///     trace.expression(p);     // "p - 0.1 * (0.9 * b + 1 * (g + 0 * p))"
///
/// A constant is a Traced without a trace, so that a rule's float members convert.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace minima {

class Trace;

struct Traced {
  Traced() = default;
  Traced(float x) : value(x) {}  // implicit: the constants of a rule are floats

  float value = 0;
  Trace* trace = nullptr;
  int node = -1;  ///< in trace

  friend bool operator<(const Traced& a, const Traced& b) { return a.value < b.value; }
  friend bool operator>(const Traced& a, const Traced& b) { return a.value > b.value; }
};

/// The operations in the order in which they were done.
class Trace {
 public:
  struct Node {
    std::string_view operation;  ///< "+", "-", "*", "/", "sqrt", "neg"; empty: an input
    Traced a, b;
    float value;
    std::string name;  ///< of an input, or given by name()
  };

  Traced input(std::string name, float value) { return add({"", {}, {}, value, std::move(name)}); }
  /// From here on x is printed by this name. Nothing happens to a constant.
  void name(const Traced& x, std::string text) {
    if (x.node >= 0) nodes_[static_cast<std::size_t>(x.node)].name = std::move(text);
  }
  const std::vector<Node>& nodes() const { return nodes_; }

  /// The formula of x down to inputs and named values; parentheses where they are needed.
  std::string expression(const Traced& x) const { return expression(x, 0, true); }

  static Traced record(std::string_view operation, const Traced& a, const Traced& b, float value) {
    Trace* trace = a.trace ? a.trace : b.trace;
    return trace ? trace->add({operation, a, b, value, {}}) : Traced(value);
  }

 private:
  Traced add(Node node) {
    Traced x(node.value);
    x.trace = this;
    x.node = static_cast<int>(nodes_.size());
    nodes_.push_back(std::move(node));
    return x;
  }

  std::string expression(const Traced& x, int strength, bool expand) const {
    if (x.node < 0) return fmt::format("{}", x.value);
    const Node& node = nodes_[static_cast<std::size_t>(x.node)];
    if (node.operation.empty() || (!expand && !node.name.empty())) return node.name;
    if (node.operation == "sqrt") return "sqrt(" + expression(node.a, 0, false) + ")";
    if (node.operation == "neg") return "-" + expression(node.a, 3, false);
    const int own = node.operation == "+" || node.operation == "-" ? 1 : 2;
    const bool associative = node.operation == "+" || node.operation == "*";
    const std::string text = expression(node.a, own, false) + " " + std::string(node.operation) +
                             " " + expression(node.b, associative ? own : own + 1, false);
    return own < strength ? "(" + text + ")" : text;
  }

  std::vector<Node> nodes_;
};

inline Traced operator+(const Traced& a, const Traced& b) {
  return Trace::record("+", a, b, a.value + b.value);
}
inline Traced operator-(const Traced& a, const Traced& b) {
  return Trace::record("-", a, b, a.value - b.value);
}
inline Traced operator*(const Traced& a, const Traced& b) {
  return Trace::record("*", a, b, a.value * b.value);
}
inline Traced operator/(const Traced& a, const Traced& b) {
  return Trace::record("/", a, b, a.value / b.value);
}
inline Traced operator-(const Traced& a) { return Trace::record("neg", a, {}, -a.value); }
inline Traced sqrt(const Traced& a) { return Trace::record("sqrt", a, {}, std::sqrt(a.value)); }

}  // namespace minima
