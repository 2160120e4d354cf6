/// The folder that a verb writes to, and how its work there ends.
#pragma once

#include "core/files/folder.hpp"
#include "examples/minima/options.hpp"
#include "train/checkpoint.hpp"
#include "train/run.hpp"

namespace minima {

/// --out, or runs/<verb>-<date>-<time>, a new one; for this process alone.
FolderLock output_folder(const std::string& verb, const CommonOptions& common);

/// The folder of a run, which this process has for itself: that of `resumed`, else output_folder. Throws Error, before
/// anything is loaded, where another process has it, where it cannot be written, and of a new run where it has an earlier one,
/// or a file of another's that the run would replace.
struct RunFolder {
  RunFolder(const std::string& verb, const CommonOptions& common, const std::string& resumed)
      : verb(verb),
        resumes(!resumed.empty()),
        lock(resumes ? FolderLock(resumed) : output_folder(verb, common)),
        path(lock.path()) {
    if (!resumes) refuse_used_folder(path);
  }
  /// The optimizer's spec: that of the resumed run, which another version may have completed otherwise.
  std::string spec_or(const std::string& resolved) const;
  /// Whether the resumed run has ended, which it says.
  bool tell_ended(const CommonOptions& common) const;
  /// Says why a run took not all of its steps, if so, and how it goes on where its time was up.
  void tell_stopped(i64 epoch, Stop stop) const;
  /// "go on without a limit: minima train --resume …"
  std::string way_on() const;
  /// f(), the run. An error at run time then says how to go on.
  template <class F>
  auto work(const F& f) const {
    try {
      return f();
    } catch (const Error& error) {
      fail(error);
    }
  }
  const std::string verb;
  const bool resumes;
  const FolderLock lock;
  const std::filesystem::path path;

 private:
  [[noreturn]] void fail(const Error& error) const;
};

/// The end that a shell expects of a program that Ctrl-C has stopped, behind a message.
[[noreturn]] void die_of_interrupt(const std::string& message);
/// The same of a training, which says how to go on.
[[noreturn]] void die_of_interrupt(const std::string& verb, const std::filesystem::path& directory);

}  // namespace minima
