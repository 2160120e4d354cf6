/// Arguments of the benchmarks: all may be left out but those that a program requires.
#pragma once

#include <CLI/CLI.hpp>

namespace minima::bench {

/// A whole number from `least` to `most`; its default is what it is.
template <class Number>
CLI::Option* add_number(CLI::App& app, const char* name, Number& number, Number least = 1,
                        Number most = 1'000'000'000) {
  return app.add_option(name, number)->check(CLI::Range(least, most))->capture_default_str();
}
inline CLI::Option* add_threads(CLI::App& app, int& threads) {
  return add_number(app, "threads", threads, 1, 1024);
}

}  // namespace minima::bench
