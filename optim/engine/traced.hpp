/// Traced: a float that remembers how it was computed. A rule's formula, called with Traced in
/// place of float, yields the bits of the kernel and, beside them, the expression that made them:
/// this is what `explain` prints.
///
///     Trace trace;
///     Traced p = trace.input("p", 1.5f), g = trace.input("g", 0.25f), b = trace.input("b", 0);
///     Sgd::prepare(options, 1)(p, g, b);
///     trace.expression(p);     // "p - 0.1 * (0.9 * b + 1 * (g + 0 * p))"
///
/// A constant is a Traced without a trace, so that a rule's float members convert, or, of those that it has named by
/// Trace::constant, an input. A double does not convert, with which a kernel would compute in 64 bits.
#pragma once

#include <cmath>
#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/types.hpp"
#include "optim/rule.hpp"

namespace minima {

class Trace;

struct Traced {
  Traced() = default;
  Traced(const float& x);  // implicit: the constants of a rule are floats
  template <std::same_as<double> Double>
  Traced(Double) = delete;  // write 0.9f; 1 and 2 are as good as floats

  float value = 0;
  Trace* trace = nullptr;
  int node = -1;  ///< in trace
};

/// How an expression is written: its inputs and constants by name where they have one, or by value.
enum class Spelling { letters, numbers };

/// The operations in the order in which they were done.
class Trace {
 public:
  struct Node {
    /// "+", "-", "*", "/", "neg", or a function: "sqrt", "abs", "sign", "max", "min", "cut"; empty: an input.
    std::string_view operation;
    Traced a, b;
    float value;
    std::string name;  ///< of an input, or given by name()
  };
  struct Constant {
    std::string letter;
    float value;
  };
  /// A named result: v = 0.999 * v + 0.001 * g * g, in letters and in numbers.
  struct Line {
    std::string name, letters, numbers;
    float value;
  };

  Traced input(std::string name, float value) { return add({"", {}, {}, value, std::move(name)}); }
  /// From here on x is printed by this name. Nothing happens to a constant or an input.
  void name(const Traced& x, std::string text) {
    if (x.node >= 0 && !at(x).operation.empty()) at(x).name = std::move(text);
  }
  /// While the trace that this thread makes is of constants too (OfConstants): the float that lies there has a letter.
  static void constant(const char* letter, const float& x) {
    if (of_constants_) of_constants_->named_.push_back({letter, &x, {}});
  }
  /// Those of them that the formula has.
  std::vector<Constant> constants() const {
    std::vector<Constant> found;
    for (const Named& named : named_)
      if (named.input.trace) found.push_back({named.letter, named.input.value});
    return found;
  }

  /// The formula of x down to inputs and named values; parentheses where they are needed.
  std::string expression(const Traced& x, Spelling spelling = Spelling::letters) const {
    return expression(x, spelling, 0, true);
  }
  /// Every named result, in order.
  std::vector<Line> lines() const {
    std::vector<Line> lines;
    for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
      const Node& node = nodes_[static_cast<std::size_t>(i)];
      if (node.operation.empty() || node.name.empty()) continue;
      Traced x(node.value);
      x.node = i;
      lines.push_back({node.name, expression(x, Spelling::letters),
                       expression(x, Spelling::numbers), node.value});
    }
    return lines;
  }

  static Traced record(std::string_view operation, const Traced& a, const Traced& b, float value) {
    Trace* trace = a.trace ? a.trace : b.trace ? b.trace : of_constants_;
    return trace ? trace->add({operation, a, b, value, {}}) : Traced(value);
  }

  /// While it lives, what this thread makes of constants alone goes into a trace too.
  class OfConstants {
   public:
    explicit OfConstants(Trace& trace) : before_(std::exchange(of_constants_, &trace)) {}
    ~OfConstants() {
      for (auto& named : of_constants_->named_) named.place = nullptr;  // others may lie there soon
      of_constants_ = before_;
    }
    OfConstants(const OfConstants&) = delete;

   private:
    Trace* before_;
  };

 private:
  static inline thread_local Trace* of_constants_ = nullptr;

  /// A constant with a letter, where it lies, and what it is here once the formula has come upon it.
  struct Named {
    std::string letter;
    const float* place;
    Traced input;
  };

  Node& at(const Traced& x) { return nodes_[static_cast<std::size_t>(x.node)]; }
  Traced add(Node node) {
    Traced x(node.value);
    x.trace = this;
    x.node = static_cast<int>(nodes_.size());
    nodes_.push_back(std::move(node));
    return x;
  }
  std::string expression(const Traced& x, Spelling spelling, int strength, bool expand) const;

  friend Traced::Traced(const float& x);

  std::vector<Node> nodes_;
  std::vector<Named> named_;
};

inline Traced::Traced(const float& x) : value(x) {
  if (Trace* const trace = Trace::of_constants_)
    for (Trace::Named& named : trace->named_)
      if (named.place == &x) {
        if (!named.input.trace) named.input = trace->input(named.letter, x);
        *this = named.input;
      }
}

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
inline Traced abs(const Traced& a) { return Trace::record("abs", a, {}, std::abs(a.value)); }
inline Traced sign(const Traced& a) { return Trace::record("sign", a, {}, sign(a.value)); }
inline Traced larger(const Traced& a, const Traced& b) {
  return Trace::record("max", a, b, larger(a.value, b.value));
}
inline Traced smaller(const Traced& a, const Traced& b) {
  return Trace::record("min", a, b, smaller(a.value, b.value));
}
inline Traced named(const char* name, const Traced& x) {
  if (x.trace) x.trace->name(x, name);
  return x;
}

/// A number that is one for the whole parameter: β₂ of this step, RMS(u), α.
struct Note {
  std::string letter, formula;
  double value;
};

/// What one looks at while a step is made. The step itself fills it in, so what is shown is what was computed.
struct Probe {
  i64 element = -1;  ///< the element whose formula is traced; −1: none
  std::vector<Note> notes;
  Trace trace;  ///< of that element; its lines() are the formula's

  const Note* find(std::string_view letter) const {
    for (const Note& note : notes)
      if (note.letter == letter) return &note;
    return nullptr;
  }
};

}  // namespace minima
