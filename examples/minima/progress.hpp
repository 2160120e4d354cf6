/// How a training goes on, on standard error: on a terminal a bar that is rewritten and keeps to its width (coloured
/// unless NO_COLOR is set), elsewhere plain lines, one for each evaluation and one a minute; alarms and changes of the
/// optimizer.
#pragma once

#include <string>

#include "core/stopwatch.hpp"
#include "train/trainer.hpp"

namespace minima {

class Progress {
 public:
  Progress();
  ~Progress() { end(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void begin(const std::string& what);
  /// Leaves no bar behind: what comes next begins on a line of its own.
  void end();
  Callback callback();

 private:
  void step(const StepRecord& record, i64 total);
  void evaluation(const EvaluationRecord& record);
  void alarm(const Alarm& alarm);
  void say(const std::string& text);        ///< on lines of its own
  bool terminal_, coloured_, bar_ = false;  ///< one is there
  std::string what_;
  Stopwatch clock_;
  double drawn_ = 0;      ///< seconds on the clock
  i64 steps_before_ = 0;  ///< taken before this process
  i64 alarms_ = 0;        ///< that rang
};

}  // namespace minima
