/// Where the seconds of a training go. Each second belongs to one part: what is timed within another part interrupts it,
/// so that the parts add up to the whole.
#pragma once

#include <array>
#include <functional>

#include "core/files/json.hpp"

namespace minima {

class TimeSpent {
 public:
  enum class Part {
    loop,   ///< what is in no other part
    steps,  ///< batches, forward, backward and update
    evaluation,
    logging,      ///< metrics.jsonl, event files, watching and its alarms, callbacks
    checkpoints,  ///< those written and read back, and the one that a resumed training began with
  };

  /// By the system's steady clock, or by another one that tells seconds.
  explicit TimeSpent(std::function<double()> now = {});

  void restart();  ///< from zero, in the loop
  /// Takes what to_json told in an earlier process of the training; what it does not share out was the loop's.
  void resume(const Json& earlier);
  void enter(Part part) {  ///< from now on, until another part is entered
    const double now = now_();
    seconds_[index(part_)] += now - since_;
    since_ = now;
    part_ = part;
  }
  /// `part` while it lives; then the part before it goes on.
  class During {
   public:
    During(TimeSpent& time, Part part) : time_(time), before_(time.part_) { time.enter(part); }
    ~During() { time_.enter(before_); }
    During(const During&) = delete;
    During& operator=(const During&) = delete;

   private:
    TimeSpent& time_;
    Part before_;
  };

  /// What was timed as one part and belongs to another.
  void move(double seconds, Part from, Part to) {
    seconds_[index(from)] -= seconds;
    seconds_[index(to)] += seconds;
  }

  double seconds(Part part) const {  ///< of this process, so far
    return seconds_[index(part)] + (part == part_ ? now_() - since_ : 0);
  }
  double total() const;   ///< of this process
  double in_all() const;  ///< and of the earlier ones
  /// {"seconds": in all, "steps", "evaluation", "logging", "checkpoints", "loop": shares of it}.
  Json to_json() const;

 private:
  static std::size_t index(Part part) { return static_cast<std::size_t>(part); }

  std::function<double()> now_;
  std::array<double, 5> seconds_{}, earlier_{};  ///< in this process, and in those before
  Part part_ = Part::loop;
  double since_ = 0;
};

}  // namespace minima
