/// Arguments of the benchmarks: all may be left out but those that a program requires.
#pragma once

#include <CLI/CLI.hpp>

namespace minima::bench {

/// A whole number, at least `least`; its default is what it is.
template <class Number>
CLI::Option* add_number(CLI::App& app, const char* name, Number& number, Number least = 1) {
  return app.add_option(name, number)
      ->check(CLI::Range(least, Number{1'000'000'000}))
      ->capture_default_str();
}

}  // namespace minima::bench
