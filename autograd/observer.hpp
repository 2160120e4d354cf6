/// Watching what is computed, op by op, in order to measure it (bench/profile.cpp). Where nobody
/// watches, an op costs one comparison more.
///
///     Clock clock;
///     const Observed observed([&](const OpEvent& event) { time[event.op] += clock.lap(); });
///     loss.backward();
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "core/shape.hpp"

namespace minima {

struct OpEvent {
  /// `gradients`: those of one op's inputs were added to what had come in before.
  enum class Kind { forward, backward, gradients } kind;
  std::string_view op;
  const Shape& result;
  std::span<const Shape> inputs;  ///< in backward empty shapes stand for inputs without gradient
};

/// While one lives, the thread calls `observer` after each op, forward and backward: the time since
/// the call before is the op's own.
class Observed {
 public:
  using Observer = std::function<void(const OpEvent&)>;
  explicit Observed(Observer observer);
  ~Observed();
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

 private:
  Observer observer_;
  const Observer* before_;
};

/// Whether somebody looks at single ops on this thread: an Observed, or FindNonFinite (autograd/variable.hpp).
bool observed();

}  // namespace minima
