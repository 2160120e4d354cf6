/// Errors. Every failing precondition throws `Error`; none is an assert.
///
/// A message names the operation, both values and the way out:
///
///     matmul: inner dimensions differ: a is [32, 128], b is [64, 256]; 128 of a must equal 64 of b
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace minima {

/// Whose fault it was; the program's exit code follows from it (input: 2, else 1). `memory`: a device has no more.
enum class Fault { input, runtime, memory };

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, Fault fault = Fault::input)
      : std::runtime_error(message), fault(fault) {}
  Fault fault;
};

/// Throws an Error for bad usage or bad input, with a message in fmt's format.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws an Error for what the surroundings refused: a full disk, a missing library, no memory.
template <class... Args>
[[noreturn]] void fail_at_run_time(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), Fault::runtime);
}

/// f(), whose Error for want of memory says what needed it: "the weight 'classifier.bias': memory: …".
template <class F, class... Args>
decltype(auto) needing_memory(const F& f, fmt::format_string<const Args&...> what,
                              const Args&... args) {
  try {
    return f();
  } catch (const Error& error) {
    if (error.fault != Fault::memory) throw;
    throw Error(fmt::format("{}: {}", fmt::format(what, args...), error.what()), Fault::memory);
  }
}

/// Throws an Error unless `ok`. The arguments are formatted only on failure.
template <class... Args>
void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    fail(format, std::forward<Args>(args)...);
}

}  // namespace minima
