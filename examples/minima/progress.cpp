#include "examples/minima/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "examples/minima/terminal.hpp"

namespace minima {
namespace {

constexpr i64 kMostAlarms = 10;      ///< of a training, that are said
constexpr double kBarSeconds = 0.1;  ///< from one drawing of the bar to the next
constexpr double kLineSeconds = 60;  ///< from one line to the next, where no terminal is
constexpr int kLineColumns = 200;

/// Columns of the terminal, asked for anew each time: it may have been resized.
int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// "45 s", "12 min", "3 h 20 min".
std::string duration(double seconds) {
  if (!(seconds < 1e8)) return "?";
  const auto whole = static_cast<i64>(seconds + 0.5);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

/// How far it is, of these parts as many as `width` columns have room for, the most important first.
std::string progress_text(const std::string& what, const StepRecord& record, i64 total, double rate,
                          int width) {
  const std::string left = duration(static_cast<double>(total - record.step) / rate) + " left";
  const std::string count = fmt::format("{}/{}", record.step, total);
  std::string text = count;
  for (const std::string& longer :
       {fmt::format("{}  {}", count, left),
        fmt::format("{}  loss {:.3f}  {}", count, record.loss, left),
        fmt::format("epoch {}  {}  loss {:.3f}  {}", record.epoch, count, record.loss, left),
        fmt::format("epoch {}  {}  loss {:.3f}  {:.1f} steps/s  {}", record.epoch, count,
                    record.loss, rate, left),
        fmt::format("{}  epoch {}  {}  loss {:.3f}  {:.1f} steps/s  {}", what, record.epoch, count,
                    record.loss, rate, left)})
    if (std::ssize(longer) < width) text = longer;
  return text;
}

/// The same behind a bar, where there is room for one.
std::string progress_line(const std::string& what, const StepRecord& record, i64 total, double rate,
                          int width) {
  const std::string text = progress_text(what, record, total, rate, width);
  const i64 cells = std::min<i64>(24, width - std::ssize(text) - 3);
  if (cells < 6) return text;
  std::string bar;  // of characters of three bytes
  for (i64 i = 0; i < cells; ++i) bar += i < cells * record.step / total ? "━" : "─";
  return bar + "  " + text;
}

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {
  const char* plain = std::getenv("NO_COLOR");
  coloured_ = terminal_ && (plain == nullptr || *plain == '\0');
}

void Progress::begin(const std::string& what) {
  what_ = what;
  clock_.restart();
  drawn_ = 0;
  steps_before_ = -1;
  alarms_ = 0;
}

Callback Progress::callback() {
  return {.step = [this](const StepRecord& record, i64 total) { step(record, total); },
          .evaluation = [this](const EvaluationRecord& record) { evaluation(record); },
          .alarm = [this](const Alarm& one) { alarm(one); },
          .switched = [this](const SwitchRecord& record) { say(record.text()); },
          .optimizer = [this](const std::string& spec) { what_ = spec; },
          .say = [this](const std::string& text) { say(text + "\n"); }};
}

void Progress::step(const StepRecord& record, i64 total) {
  if (steps_before_ < 0) steps_before_ = record.step - 1;
  if (record.step == total) return end();
  const double now = clock_.seconds();
  if (now - drawn_ < (terminal_ ? kBarSeconds : kLineSeconds)) return;
  drawn_ = now;
  const double rate = static_cast<double>(record.step - steps_before_) / now;
  if (!terminal_)
    return print_note("{}\n", progress_text(what_, record, total, rate, kLineColumns));
  bar_ = true;
  write_to_standard_error(
      fmt::format("\r\033[K{}{}{}", coloured_ ? "\033[36m" : "",
                  visible(progress_line(what_, record, total, rate, terminal_width())),
                  coloured_ ? "\033[0m" : ""));
}

void Progress::alarm(const Alarm& alarm) {
  if (++alarms_ <= kMostAlarms)
    say(fmt::format("alarm: {}\n", alarm.text()));
  else if (alarms_ == kMostAlarms + 1)
    say("further alarms are in metrics.jsonl and in the report\n");
}

void Progress::evaluation(const EvaluationRecord& record) {
  std::string scores;
  if (const auto accuracy = record.dev.find("accuracy"))
    scores = fmt::format("  dev accuracy {:.1f} %", 100 * *accuracy);
  if (const auto f1 = record.dev.find("macro_f1"))
    scores += fmt::format("  macro-F1 {:.1f} %", 100 * *f1);
  say(fmt::format("epoch {}  step {}  train loss {:.3f}  dev loss {:.3f}{}  {:.1f} s\n",
                  record.epoch, record.step, record.train_loss, record.dev.loss, scores,
                  record.seconds));
}

void Progress::say(const std::string& text) {
  end();
  if (!terminal_) drawn_ = clock_.seconds();  // a line was due no sooner
  print_note("{}  {}", what_, text);
}

void Progress::end() {
  if (std::exchange(bar_, false)) write_to_standard_error("\r\033[K");
}

}  // namespace minima
