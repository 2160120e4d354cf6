#include "examples/minima/run_folder.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "core/files/file.hpp"
#include "core/text/for_shell.hpp"
#include "examples/minima/terminal.hpp"
#include "train/interrupt.hpp"

namespace minima {

FolderLock output_folder(const std::string& verb, const CommonOptions& common) {
  if (!common.out.empty()) return FolderLock(common.out);
  const std::time_t time = std::time(nullptr);
  std::tm local{};
  localtime_r(&time, &local);
  char stamp[32];
  std::strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &local);
  return FolderLock::on_new(std::filesystem::path("runs") / fmt::format("{}-{}", verb, stamp));
}

std::string RunFolder::spec_or(const std::string& resolved) const {
  return resumes ? read_run(path, nullptr).value("spec", resolved) : resolved;
}

bool RunFolder::tell_ended(const CommonOptions& common) const {
  if (!resumes || !has_ended(path)) return false;
  const std::string model = (path / "final").string();
  if (common.json)
    fmt::print("{}\n", Json{{"model", model}, {"stop", stop_name(Stop::finished)}}.dump());
  else
    print_text(
        "{} has ended: {}; its model is {}\nto train that further, begin a run with --model {}\n",
        path.string(), stop_name(Stop::finished), model, for_shell(model));
  return true;
}

void RunFolder::tell_stopped(i64 epoch, Stop stop) const {
  if (stop == Stop::finished) return;
  print_text("\nstopped in epoch {}: {}{}\n", epoch, stop_name(stop),
             stop == Stop::minutes ? "; " + way_on() : "");
}

std::string RunFolder::way_on() const {
  return fmt::format("go on without a limit: minima {} --resume {} --minutes 0", verb,
                     for_shell(path.string()));
}

void RunFolder::fail(const Error& error) const {
  const std::string what = error.what();
  if (error.fault != Fault::runtime || !is_there(path / "run.json")) throw;
  if (dynamic_cast<const TrainingFailed*>(&error)) {
    if (!resumes || verb == "compare") throw;
    fail_training("{}; what is resumed takes the same steps: begin a new run with another --lr",
                  what);
  }
  const bool full = what.find(std::strerror(ENOSPC)) != std::string::npos;
  fail_at_run_time("{}; {} go on with: minima {} --resume {}", what,
                   full ? "make room, then" : "when that is mended,", verb,
                   for_shell(path.string()));
}

void die_of_interrupt(const std::string& message) {
  const int signal = InterruptRequests::received();
  print_note("{}\n", message);
  std::fflush(nullptr);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  std::abort();
}

void die_of_interrupt(const std::string& verb, const std::filesystem::path& directory) {
  die_of_interrupt(fmt::format("stopped and saved; go on with: minima {} --resume {}", verb,
                               for_shell(directory.string())));
}

}  // namespace minima
